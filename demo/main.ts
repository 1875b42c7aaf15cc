// npm run demo: Meshward's own demo, or with --cluster the same story with kubectl against a real API server, which it
// takes what the end-to-end tests use to start.

const argv = process.argv.slice(2);
if (argv.includes("--cluster")) await import("./on-cluster.ts");
else {
  process.argv.splice(2, argv.length, "demo", ...argv);
  await import("../src/main.ts");
}
