"""A local network for a test suite: started, given users, and ended by its process id."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import urllib.parse

USERS = ("main", "alt", "tenant", "iam")


class Localnet:
    """Eight providers and a gateway in a directory of their own. A "day" of lifecycle rules lasts one second."""

    def __init__(self, binary):
        self.binary = binary
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cairn-s3-"))
        command = [binary, "localnet", "--providers", "8", "--free", "--dir", str(self.dir / "net"), "--json"]
        self.log = open(self.dir / "log", "wb")
        environment = dict(os.environ, CAIRN_LIFECYCLE_DAY="1s")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise SystemExit("the local network did not start; its log is above:\n" + (self.dir / "log").read_text())
        self.said = json.loads(line)
        self.endpoint = urllib.parse.urlparse(self.said["endpoint"])
        self.keys = {user: self.key(user) for user in USERS}

    def key(self, user):
        """An access key of a user."""
        command = [self.binary, "key", "create", "--user", user, "--json", "--dir", str(self.dir / "net" / "gateway")]
        return json.loads(subprocess.check_output(command))

    def s3tests_conf(self):
        """The configuration file of s3-tests and of its port for PyPI."""
        parts = [
            f"[DEFAULT]\nhost = {self.endpoint.hostname}\nport = {self.endpoint.port}\nis_secure = False\nssl_verify = False\n"
            "ssh_user = none\nssh_passwd = none\nssh_port = 22\n",
            "[fixtures]\nbucket prefix = t-{random}-\niam name prefix = s3-tests-\niam path prefix = /s3-tests/\n",
        ]
        more = {"s3 main": "api_name = default\nlc_debug_interval = 1\nstorage_classes = STANDARD\n", "s3 tenant": "tenant = testx\n"}
        sections = {"s3 main": "main", "s3 alt": "alt", "s3 tenant": "tenant", "iam": "iam", "iam root": "main", "iam alt root": "alt"}
        for section, user in sections.items():
            key = self.keys[user]
            parts.append(
                f"[{section}]\ndisplay_name = {user}\nuser_id = {user}\nemail = {user}@example.com\n"
                f"access_key = {key['access_key']}\nsecret_key = {key['secret_key']}\n{more.get(section, '')}"
            )
        path = self.dir / "s3tests.conf"
        path.write_text("\n".join(parts))
        return path

    def stop(self):
        """Ends the network and takes its directory away."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def clean_environment(conf=None):
    """What the suites need of their surroundings, and nothing of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    kept.update(BOTO_DISABLE_CRT="true", AWS_MAX_ATTEMPTS="1", PYTHONDONTWRITEBYTECODE="1")
    if conf:
        kept["S3TEST_CONF"] = str(conf)
    return kept
