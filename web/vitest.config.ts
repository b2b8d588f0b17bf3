// How the tests of all packages run: in one process, as the machines that run them have few cores.
import { defineConfig } from "vitest/config";

// Packages are tested as they stand here, not as they were built last.
const conditions = ["hubbub-source"];

export default defineConfig({
  resolve: { conditions: [...conditions, "module", "browser", "development|production"] },
  ssr: { resolve: { conditions: [...conditions, "module", "node", "development|production"] } },
  test: { include: ["{packages/*,app}/tests/**/*.test.{ts,tsx}"], pool: "threads", maxWorkers: 1 },
});
