// A round picture of somebody, of whom nothing but a name is known: its first letter, in a colour of its own.

const TONES = 8;

function toneOf(name: string): number {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 65_521;
  return sum % TONES;
}

/** Beside a name, so that it says nothing to screen readers: its letter is in no text either. */
export function Face({ name }: { name: string }) {
  const [first = ""] = name;
  return <span className="face" data-tone={toneOf(name)} data-letter={first.toLocaleUpperCase()} aria-hidden="true" />;
}
