// Begins a page: its root component, in StrictMode, below a provider.
import { HubbubProvider } from "@hubbub/react";
import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";

// The server's WebSocket is beside the page; for as long as the pages are at /next/, above it.
const folder = location.pathname.includes("/next/") ? "../" : "";

/** What is beside the server's WebSocket. */
export const beside = (name: string): URL => new URL(folder + name, location.href);

/** A page that connects in its own way. */
export function mountBare(page: ReactNode): void {
  createRoot(document.getElementById("root") as HTMLElement).render(<StrictMode>{page}</StrictMode>);
}

export function mount(page: ReactNode): void {
  mountBare(<HubbubProvider options={{ url: beside("ws") }}>{page}</HubbubProvider>);
}
