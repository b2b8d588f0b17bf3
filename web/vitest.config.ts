// How the tests of all packages run: in one process, as the machines that run them have few cores.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["packages/*/tests/**/*.test.ts"], pool: "threads", maxWorkers: 1 },
});
