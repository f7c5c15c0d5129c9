// Copies template.yaml into the package, and writes lib/parameters.ts: one typed property for each of its parameters.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const template = readFileSync(here("../../template.yaml"), "utf8");

// SAM makes the function's alias, which CDK's include looks for in the template. A parameter of that name, which lib/index.ts replaces by
// the reference, lets it pass. lib/index.ts also puts back what depends on the alias.
const alias = "  ReceiverFunction.Alias: {Type: String}\n";
const included = template.replace(/^Parameters:\n/m, (line) => line + alias).replace(/^ +DependsOn: ReceiverFunctionAliaslive\n/gm, "");
writeFileSync(here("lib/template.yaml"), included);

// The parameters contain no functions of CloudFormation, whose tags are unknown here.
const { Parameters } = parse(template, { logLevel: "silent" });

function type({ Type, AllowedValues }) {
  if (AllowedValues) return AllowedValues.map((value) => JSON.stringify(value)).join(" | ");
  const types = { String: "string", Number: "number" };
  if (!(Type in types)) throw new Error(`no type for ${Type}`);
  return types[Type];
}

const properties = Object.entries(Parameters).map(([name, parameter]) => {
  const text = [parameter.Description.trim(), `@default ${JSON.stringify(parameter.Default)}`];
  return `  /**\n${text.map((line) => `   * ${line}\n`).join("")}   */\n  readonly ${name[0].toLowerCase()}${name.slice(1)}?: ${type(parameter)};\n`;
});
writeFileSync(
  here("lib/parameters.ts"),
  `// Made by generate.mjs of the parameters in template.yaml.\n\n/** The parameters of the stack. */\nexport interface Parameters {\n${properties.join("")}}\n`,
);
