// Begins a page: its root component, in StrictMode, below a provider.
import { Client, type Options } from "@hubbub/client";
import { HubbubProvider } from "@hubbub/react";
import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";

// The server's paths are beside the page; above it where the page has a folder of its own.
const above = /\/dashboard\//.test(location.pathname) ? "../" : "./";

/** Where something of the server is. */
export const addressOf = (path: string): URL => new URL(`${above}${path}`, location.href);

/** The page's client; it connects once the page is there. */
export function clientOf<App extends object>(options: Options = {}): Client<App> {
  return new Client<App>({ ...options, url: addressOf("ws") });
}

/** A page that connects in its own way. */
export function mountBare(page: ReactNode): void {
  createRoot(document.getElementById("root") as HTMLElement).render(<StrictMode>{page}</StrictMode>);
}

export function mount(page: ReactNode, client = clientOf()): void {
  mountBare(<HubbubProvider client={client}>{page}</HubbubProvider>);
  client.open();
}
