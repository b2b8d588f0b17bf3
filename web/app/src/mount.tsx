// Begins a page: its root component, in StrictMode, below a provider.
import { HubbubProvider } from "@hubbub/react";
import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";

export function mount(page: ReactNode): void {
  createRoot(document.getElementById("root") as HTMLElement).render(
    <StrictMode>
      <HubbubProvider>{page}</HubbubProvider>
    </StrictMode>,
  );
}
