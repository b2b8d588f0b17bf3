// Begins a page: its root component, in StrictMode, below a provider.
import { HubbubProvider } from "@hubbub/react";
import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";

// The server's WebSocket is beside the page; for as long as the pages are at /next/, above it.
const url = location.pathname.includes("/next/") ? "../ws" : "ws";

export function mount(page: ReactNode): void {
  createRoot(document.getElementById("root") as HTMLElement).render(
    <StrictMode>
      <HubbubProvider options={{ url: new URL(url, location.href) }}>{page}</HubbubProvider>
    </StrictMode>,
  );
}
