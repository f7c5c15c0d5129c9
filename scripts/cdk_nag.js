// Prints what cdk-nag's AwsSolutions rules find in templates: cdk_nag.js FILE… prints a JSON object with, for each file, a list of
// [resource, rule]. Reasons in the templates are not looked at.
const fs = require("fs");
const os = require("os");
const path = require("path");
const { App, Stack, Validations } = require("aws-cdk-lib");
const { CfnInclude } = require("aws-cdk-lib/cloudformation-include");
const { AwsSolutionsChecks } = require("cdk-nag");

function findings(file) {
  const outdir = fs.mkdtempSync(path.join(os.tmpdir(), "cdk-nag-"));
  const app = new App({ outdir });
  const stack = new Stack(app, "stack");
  new CfnInclude(stack, "template", { templateFile: file, allowCyclicalReferences: true });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  const reportFile = path.join(outdir, "validation-report.json");
  try {
    app.synth();
  } catch (error) {
    // Findings make it fail, after the report.
    if (!fs.existsSync(reportFile)) throw error;
  }
  const { pluginReports } = JSON.parse(fs.readFileSync(reportFile));
  fs.rmSync(outdir, { recursive: true });
  const report = pluginReports.find((it) => it.pluginName === "AwsSolutions");
  return report.violations.flatMap((violation) =>
    violation.violatingConstructs.map((construct) => [construct.constructPath.split("/").pop(), violation.ruleName]),
  );
}

console.error = () => {};
const found = Object.fromEntries(process.argv.slice(2).map((file) => [file, findings(file)]));
process.exitCode = 0;
fs.writeSync(1, JSON.stringify(found));
