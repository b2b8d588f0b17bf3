// Builds dist: hubbub.js is all that a page loads; what few need are modules that it loads when they are needed.
import { build } from "esbuild";

const folder = new URL(".", import.meta.url).pathname;

/**
 * Leaves what is imported when it is needed a module of its own.
 *
 * @type {import("esbuild").Plugin}
 */
const onDemand = {
  name: "on demand",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/\w+\.ts$/ }, ({ path, kind }) =>
      kind === "dynamic-import" ? { path: path.replace(/ts$/, "js"), external: true } : undefined,
    );
  },
};

/**
 * The built files: written to dist, or only given with `write: false`.
 *
 * @param {import("esbuild").BuildOptions} options
 */
export const bundle = (options = {}) =>
  build({
    absWorkingDir: folder,
    entryPoints: { hubbub: "src/index.ts", http: "src/http.ts", msgpack: "src/msgpack.ts" },
    plugins: [onDemand],
    bundle: true,
    minify: true,
    sourcemap: true,
    format: "esm",
    target: "es2022",
    outdir: "dist",
    ...options,
  });

if (process.argv[1] === new URL(import.meta.url).pathname) await bundle();
