// What a page has to load.
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { bundle } from "../build.mjs";

const BUDGET_BYTES = 8 * 1024;

test("the client is one module of at most 8 KB gzipped, with plain HTTP and MessagePack beside it", async () => {
  const { outputFiles } = await bundle({ write: false, sourcemap: false });
  const sizes = (outputFiles ?? []).map(
    ({ path, contents }) => [path.split("/").at(-1), gzipSync(contents).length] as const,
  );
  expect(sizes.map(([name]) => name)).toEqual(["hubbub.js", "http.js", "msgpack.js"]);
  for (const [, size] of sizes) expect(size).toBeLessThanOrEqual(BUDGET_BYTES);
});

test("it imports nothing of others", async () => {
  const { metafile } = await bundle({ write: false, metafile: true });
  expect(Object.keys(metafile?.inputs ?? { none: 1 }).filter((path) => !path.startsWith("src/"))).toEqual([]);
});
