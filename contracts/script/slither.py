"""Runs slither on src/ and compares its findings with those that SLITHER.md answers.

A finding's key is `<detector> <contract.function.variable>`, the heading of its answer. A finding without an answer fails, and so does an answer
without a finding. Run by scripts/contracts with the Python that slither is installed for.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def findings() -> dict[str, str]:
    # A build of its own: slither's would clean forge's output and cache first.
    output = ROOT / "cache" / "slither-out"
    shutil.rmtree(output, ignore_errors=True)
    build = ["forge", "build", "--build-info", "--skip", "./test/**", "./script/**"]
    run([*build, "--out", output, "--cache-path", ROOT / "cache" / "slither-cache", "--force"])
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        slither = [pathlib.Path(sys.executable).with_name("slither"), ".", "--json", report, "--fail-none"]
        slither += ["--ignore-compile", "--foundry-out-directory", output.relative_to(ROOT)]
        run([*slither, "--exclude-dependencies", "--filter-paths", "node_modules"])
        content = json.loads(report.read_text())
    if not content["success"]:
        sys.exit(f"slither failed: {content['error']}")
    if not any(output.glob("Court.sol/*.json")):
        sys.exit("slither had no build of src/ to look at")
    return {f"{found['check']} {place(found['elements'][0])}": found["description"] for found in content["results"].get("detectors", [])}


def run(command: list) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed (exit {done.returncode}):\n{done.stdout}{done.stderr}")


def place(element: dict) -> str:
    """Contract, function and variable, as far as they apply."""
    names = []
    while element and element["type"] in ("contract", "function", "variable"):
        names.insert(0, element["name"])
        element = element["type_specific_fields"].get("parent") if element["type"] != "contract" else None
    return ".".join(names)


def main() -> None:
    found = findings()
    answered = set(re.findall(r"^### `(.+)`$", (ROOT / "SLITHER.md").read_text(), re.MULTILINE))
    for key in sorted(found.keys() - answered):
        print(f"not answered in SLITHER.md: `{key}`\n{found[key]}")
    for key in sorted(answered - found.keys()):
        print(f"answered in SLITHER.md, but not found any more: `{key}`")
    if found.keys() != answered:
        sys.exit(1)
    print(f"slither: {len(found)} findings, all answered in SLITHER.md")


main()
