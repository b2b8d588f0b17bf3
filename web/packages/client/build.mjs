// Builds dist: one ES module for browsers and Node.js, MessagePack as another that it loads when it needs it.
import { build } from "esbuild";

const folder = new URL(".", import.meta.url).pathname;

/**
 * The built files: written to dist, or only given with `write: false`.
 *
 * @param {import("esbuild").BuildOptions} options
 */
export const bundle = (options = {}) =>
  build({
    absWorkingDir: folder,
    entryPoints: { hubbub: "src/index.ts", msgpack: "src/msgpack.ts" },
    bundle: true,
    splitting: true,
    minify: true,
    sourcemap: true,
    format: "esm",
    target: "es2022",
    outdir: "dist",
    ...options,
  });

if (process.argv[1] === new URL(import.meta.url).pathname) await bundle();
