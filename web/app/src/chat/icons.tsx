// The page's icons, in the colour of the text around them; they say nothing to screen readers.
import type { ReactNode } from "react";

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const Pencil = () => (
  <Icon>
    <path d="M4 16l.7-3.2L13.200 4.300a1.400 1.400 0 0 1 2 0l.5.5a1.400 1.400 0 0 1 0 2L7.200 15.300z" />
  </Icon>
);
export const Bin = () => (
  <Icon>
    <path d="M4 6h12M8 6V4h4v2M5.500 6l.8 10h7.400l.8-10M8.500 9v4.500M11.500 9v4.500" />
  </Icon>
);
export const Lens = () => (
  <Icon>
    <circle cx="9" cy="9" r="5" />
    <path d="M12.700 12.700L16.500 16.500" />
  </Icon>
);
export const Bars = () => (
  <Icon>
    <path d="M3.500 5.500h13M3.500 10h13M3.500 14.500h13" />
  </Icon>
);
export const Cross = () => (
  <Icon>
    <path d="M5.500 5.500l9 9M14.500 5.500l-9 9" />
  </Icon>
);
export const Bell = () => (
  <Icon>
    <path d="M4 14.500h12l-1.500-2V9a4.500 4.500 0 0 0-9 0v3.500zM8.500 17h3" />
  </Icon>
);
export const Arrow = () => (
  <Icon>
    <path d="M10 4v11.500M5.500 11L10 15.500 14.500 11" />
  </Icon>
);
