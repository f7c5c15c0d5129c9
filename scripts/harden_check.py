"""What scripts/harden-check does."""

import itertools
import json
import pathlib
import subprocess
import sys

from samtranslator.yaml_helper import yaml_parse

from expand_template import expand
from put_in import Readable

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/1234abcd-12ab-34cd-56ef-1234567890ab"
folder = pathlib.Path(sys.argv[1])


def variants():
    """The template with everything at its default, and with everything that a parameter adds, for each entrance.

    The healer is also on without a key, so that the findings of its unencrypted resources show.
    """
    for entrance, everything in itertools.product(["http-api", "function-url", "rest-api"], [False, True]):
        values = {"Entrance": entrance, "HealerEnabled": "true" if everything or entrance == "http-api" else "false"}
        if everything:
            values |= {
                "KmsKeyArn": KEY,
                "GradualDeployment": "Canary10Percent5Minutes",
                "ReservedConcurrency": "10",
                "ContactsQueueType": "fifo",
                "AlarmEmail": "a@example.com",
            }
            if entrance != "function-url":
                values |= {"AccessLog": "on", "DomainName": "hooks.example.com", "CertificateArn": CERTIFICATE}
        given = {name: values[name] for name in ("GradualDeployment",) if name in values}
        yield f"{entrance}-{'all' if everything else 'default'}", Readable(expand(**given), **values).as_template()


def reasons(template):
    """The findings that the metadata of the resources answers, with the reasons."""
    answered = {}
    for name, resource in template["Resources"].items():
        metadata = resource.get("Metadata", {})
        given = [(it["id"], it["comment"]) for it in metadata.get("checkov", {}).get("skip", [])]
        given += [(it["id"], it["reason"]) for it in metadata.get("cdk_nag", {}).get("rules_to_suppress", [])]
        for rule, reason in given:
            assert len(reason) >= 20, f"{name}: {rule} needs a reason, not {reason!r}"
            answered[name, rule] = reason
    return answered


def without_reasons(template):
    template = json.loads(json.dumps(template))
    for resource in template["Resources"].values():
        for checker in ("checkov", "cdk_nag"):
            resource.get("Metadata", {}).pop(checker, None)
    return template


def checkov(files):
    """All findings, by the file's name. (Its exit status tells only that there are some.)"""
    command = ["target/tools/checkov/bin/checkov", "--framework", "cloudformation", "--quiet", "-o", "json"]
    ran = subprocess.run([*command, *(f"--file={it}" for it in files)], capture_output=True, text=True)
    report = json.loads(ran.stdout)
    assert report["summary"]["parsing_errors"] == 0 and report["summary"]["passed"] > 100, report["summary"]
    found = {str(it): set() for it in files}
    for check in report["results"]["failed_checks"]:
        found[str(pathlib.Path(check["repo_file_path"].lstrip("/")))].add((check["resource"].split(".")[1], check["check_id"]))
    return found


def cdk_nag(files):
    ran = subprocess.run(["node", "scripts/cdk_nag.js", *map(str, files)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return {file: {(resource, rule) for resource, rule in found} for file, found in json.loads(ran.stdout).items()}


def main():
    source = yaml_parse(pathlib.Path("template.yaml").read_text())
    answered = reasons(source)
    expanded = dict(variants())
    files = []
    for name, template in expanded.items():
        answered |= reasons(template)
        file = folder / f"{name}.json"
        file.write_text(json.dumps(without_reasons(template), indent=1))
        files.append(file)
    bare = folder / "source.json"
    # The alias is SAM's, which cdk-nag does not know.
    text = json.dumps(without_reasons(source), indent=1)
    bare.write_text(text.replace("ReceiverFunction.Alias", "ReceiverFunction").replace("ReceiverFunctionAliaslive", "ReceiverFunction"))

    linted = subprocess.run(["cfn-lint", "template.yaml", *map(str, files)], capture_output=True, text=True)
    nag, found = cdk_nag([bare, *files]), checkov([bare, *files])
    open_, needed = [], set()
    for file, findings in itertools.chain(found.items(), nag.items()):
        needed |= findings
        open_ += [f"{file}: {resource}: {rule}" for resource, rule in sorted(findings - answered.keys())]
    for finding in open_:
        print(f"not answered: {finding}")
    stale = answered.keys() - needed
    for resource, rule in sorted(stale):
        print(f"a reason for no finding: {resource}: {rule}")
    print(linted.stdout, end="")
    if open_ or stale or linted.returncode:
        sys.exit(1)
    print(f"cfn-lint, checkov and cdk-nag: source and {len(files)} variants, {len(needed)} findings, all answered")


main()
