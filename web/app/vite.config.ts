// Builds the pages into the Python package; `npm run dev` shows them while one works, before a server on port 8080.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Where the Python package looks for them. */
const PAGES = fileURLToPath(new URL("../../src/hubbub/apps/pages", import.meta.url));
const SERVER = "http://127.0.0.1:8080";

/** Puts a gzipped copy beside what is loaded: it is compressed once, and not with each request. */
function gzipped(): Plugin {
  return {
    name: "gzipped",
    apply: "build",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const file of Object.values(bundle)) {
          if (!/\.(js|css|html|svg)$/.test(file.fileName)) continue;
          const source = gzipSync(file.type === "chunk" ? file.code : file.source, { level: 9 });
          this.emitFile({ type: "asset", fileName: `${file.fileName}.gz`, source });
        }
      },
    },
  };
}

export default defineConfig({
  base: "./", // they are found wherever a host mounts them
  plugins: [gzipped()],
  resolve: { conditions: ["hubbub-source", "module", "browser", "development|production"] },
  build: {
    target: "es2022",
    outDir: PAGES,
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy allows no data: URLs
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: ["index.html", "dashboard.html"],
      // Libraries say "use client" to servers that draw pages; there is none.
      onwarn: (warning, tell) => warning.code === "MODULE_LEVEL_DIRECTIVE" || tell(warning),
    },
  },
  server: {
    proxy: Object.fromEntries(
      ["/ws", "/sse", "/poll", "/api", "/metrics-stream"].map((path) => [path, { target: SERVER, ws: true }]),
    ),
  },
});
