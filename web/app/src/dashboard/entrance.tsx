// What stands in place of the dashboard for whom the server does not show it: a form for a token.
import { keepToken, keptToken, SignIn } from "../sign-in.tsx";

/** The page begins anew as whoever the token says. */
function signIn(token: string): void {
  keepToken(token);
  location.reload();
}

/** refusal: why somebody who is there may not look; undefined where the server lets nobody in. */
export function Entrance({ refusal }: { refusal: string | undefined }) {
  const stale = keptToken() ? "The server does not take this token." : "";
  return (
    <main>
      <section aria-label="Sign in" className="panel entrance">
        <SignIn onToken={signIn} refusal={refusal ?? stale} />
      </section>
    </main>
  );
}
