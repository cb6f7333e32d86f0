"""Makes the captures of this example: real clients talk to real servers across two network namespaces.

usage: collect.py [--root DIR] OUT      as root; writes OUT/train.pcap and OUT/test.pcap

Needs curl, dig, dnsmasq, dropbear, mosquitto, nginx, openssl, openssh, python3, redis and wget; --root is where their
packages are unpacked when they are not installed. The test part uses other programs than the training part wherever
there are two, and servers listen on ports that say nothing. Frames are cut after 160 bytes. Servers' port numbers
are the label (label.py), nothing else.
"""
import argparse
import ctypes
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from label import PORTS

SNAP = 160
SERVER, CLIENT = "10.80.0.1", "10.80.0.2"


class Net:
    """Two namespaces joined by a veth pair whose packets leave as they would on a wire."""

    def __init__(self):
        self.names = [f"collect-{side}-{os.getpid()}" for side in ("server", "client")]

    def __enter__(self):
        for name in self.names:
            sh("ip", "netns", "add", name)
        server, client = self.names
        sh("ip", "-n", server, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", client)
        for name, address in zip(self.names, (SERVER, CLIENT)):
            sh("ip", "-n", name, "address", "add", address + "/24", "dev", "v0")
            for device in ("lo", "v0"):
                sh("ip", "-n", name, "link", "set", device, "up")
            sh("ip", "netns", "exec", name, "ethtool", "-K", "v0", "tso", "off", "gso", "off", "gro", "off", "tx", "off")
        return self

    def __exit__(self, *_):
        for name in self.names:
            sh("ip", "netns", "del", name)

    def wrap(self, side, command):
        return ["ip", "netns", "exec", self.names[side], *command]


def sh(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def enter(namespace):
    """This thread's network namespace from now on."""
    if ctypes.CDLL(None).setns(namespace, 0):
        raise SystemExit("collect.py: cannot enter a network namespace")


class Capture(threading.Thread):
    """Frames of the server's device, both ways, written when stopped."""

    def __init__(self, net, path):
        super().__init__()
        self.path, self.frames, self.over = path, [], False
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{net.names[0]}", os.O_RDONLY)
        enter(there)
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
            self.socket.bind(("v0", 0))
            self.socket.settimeout(0.2)
        finally:
            enter(here)

    def run(self):
        while not self.over:
            try:
                frame = self.socket.recv(65536)
            except TimeoutError:
                continue
            self.frames.append((time.time_ns(), len(frame), frame[:SNAP]))

    def stop(self):
        self.over = True
        self.join()
        with open(self.path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAP, 1))
            for ns, length, frame in self.frames:
                f.write(struct.pack("<IIII", ns // 10**9, ns % 10**9 // 1000, len(frame), length) + frame)


def write_site(work, rng):
    """Pages of many kinds and sizes."""
    site = work / "site"
    site.mkdir()
    words = "packet filter kernel model weight layer tensor verifier map program queue header payload socket".split()
    for i in range(40):
        size = rng.choice((40, 300, 2000, 9000, 30000))
        kind = rng.choice(("html", "json", "txt", "bin", "css"))
        if kind == "bin":
            body = rng.randbytes(size)
        else:
            body = " ".join(rng.choice(words) for _ in range(size // 6)).encode()
            body = {"html": b"<!DOCTYPE html><html><body>%s</body></html>", "json": b'{"text": "%s"}',
                    "css": b"body { content: '%s'; }", "txt": b"%s"}[kind] % body
        (site / f"{''.join(rng.choices('abcdefgh', k=rng.randint(3, 14)))}.{kind}").write_bytes(body)
    return site


def servers(work, site, part):
    """Command lines of the servers."""
    key, cert, host = work / "key.pem", work / "cert.pem", work / "hostkey"
    (work / "nginx.conf").write_text(f"""
        daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log; events {{}}
        http {{ access_log off; client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f;
                uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
                server {{ listen {PORTS['http']}; root {site}; }}
                server {{ listen {PORTS['tls']} ssl; root {site}; ssl_certificate {cert}; ssl_certificate_key {key}; }} }}""")
    (work / "sshd_config").write_text(f"Port {PORTS['ssh']}\nHostKey {host}\nPidFile none\nUsePAM no\n"
                                      "PasswordAuthentication yes\n")
    (work / "mosquitto.conf").write_text(f"listener {PORTS['mqtt']}\nallow_anonymous true\n")
    common = [["redis-server", "--port", PORTS["redis"], "--protected-mode", "no", "--save", ""],
              ["mosquitto", "-c", work / "mosquitto.conf"],
              ["dnsmasq", "-k", "-p", PORTS["dns"], "--no-resolv", "--no-hosts", "--address=/example.net/10.1.2.3",
               "--address=/corp.example/fd00::7", "--txt-record=txt.example.org,v=spf1 -all", "--user=root",
               "--conf-file=/dev/null"]]
    if part == "train":
        return common + [["nginx", "-c", work / "nginx.conf", "-p", work], ["sshd", "-D", "-f", work / "sshd_config"]]
    return common + [["python3", "-m", "http.server", PORTS["http"], "-d", site],
                     ["openssl", "s_server", "-quiet", "-accept", PORTS["tls"], "-cert", cert, "-key", key, "-WWW"],
                     ["dropbear", "-F", "-R", "-p", PORTS["ssh"], "-r", work / "dropbear"]]


def client(rng, part, pages):
    """The command line of one client."""
    page = rng.choice(pages)
    web, tls = f"http://{SERVER}:{PORTS['http']}/{page}", f"https://{SERVER}:{PORTS['tls']}/{page}"
    name = rng.choice(("www.", "a.b.", "mail-3.", "")) + rng.choice(("example.net", "corp.example", "txt.example.org", "no.test"))
    kind = rng.choice(("A", "AAAA", "TXT", "MX", "PTR"))
    topic, word = f"plant/{rng.randint(1, 99)}/{rng.choice(('t', 'rpm', 'state'))}", f"key{rng.randint(0, 999)}"
    ssh = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    if part == "train":
        return rng.choice((
            ["curl", "-s", rng.choice(("-XGET", "-I", "-XOPTIONS")), web], ["curl", "-s", "-d", f"a={word}", web],
            ["curl", "-sk", rng.choice(("--tlsv1.2", "--tlsv1.3")), rng.choice(("--http1.1", "--http2")), tls],
            ["curl", "-sk", "--tls-max", "1.2", tls],
            ["ssh", *ssh, "-p", PORTS["ssh"], f"{rng.choice(('root', 'git'))}@{SERVER}", "true"],
            ["dig", f"@{SERVER}", "-p", PORTS["dns"], name, kind, rng.choice(("+edns", "+noedns")), "+tries=1"],
            ["redis-cli", "-h", SERVER, "-p", PORTS["redis"], *rng.choice((
                ("set", word, "x" * rng.randint(1, 400)), ("get", word), ("incr", "n"), ("lrange", "l", "0", "9"),
                ("rpush", "l", word), ("info",), ("keys", "*")))],
            ["mosquitto_pub", "-h", SERVER, "-p", PORTS["mqtt"], "-t", topic, "-m", "v" * rng.randint(1, 200), "-q",
             str(rng.randint(0, 2))]))
    return rng.choice((
        ["wget", "-q", "-O-", web], ["python3", "-c", f"import urllib.request as u; u.urlopen('{web}').read()"],
        ["wget", "-q", "-O-", "--no-check-certificate", tls],
        ["python3", "-c", f"import ssl, urllib.request as u; u.urlopen('{tls}', context=ssl._create_unverified_context())"],
        ["dbclient", "-y", "-y", "-p", PORTS["ssh"], f"user@{SERVER}", "true"],
        ["nslookup", f"-port={PORTS['dns']}", f"-type={kind}", name, SERVER],
        ["redis-benchmark", "-h", SERVER, "-p", PORTS["redis"], "-n", "3", "-c", "1", "-q", "-t", "set,get,lpush,sadd"],
        ["mosquitto_sub", "-h", SERVER, "-p", PORTS["mqtt"], "-t", topic, "-W", "1"],
        ["mosquitto_rr", "-h", SERVER, "-p", PORTS["mqtt"], "-t", topic, "-e", "r", "-m", word, "-W", "1"]))


def talk(net, command):
    quiet = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
    try:
        subprocess.run(net.wrap(1, map(str, command)), timeout=4, **quiet)
    except subprocess.TimeoutExpired:
        pass


def collect(net, part, sessions, out):
    rng = random.Random(part)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        work.chmod(0o755)  # nginx reads the pages as another user
        site = write_site(work, rng)
        sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test.example", "-keyout",
           work / "key.pem", "-out", work / "cert.pem")
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "hostkey")
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        run = [subprocess.Popen(net.wrap(0, map(str, c)), cwd=site, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                start_new_session=True) for c in servers(work, site, part)]
        time.sleep(2)
        try:
            for process, command in zip(run, servers(work, site, part)):
                if process.poll() is not None:
                    raise SystemExit(f"collect.py: {command[0]} ended")
            capture = Capture(net, out / f"{part}.pcap")
            capture.start()
            pages = sorted(p.name for p in site.iterdir())
            for _ in range(sessions):
                talk(net, client(rng, part, pages))
            capture.stop()
        finally:
            for process in run:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=pathlib.Path)
    parser.add_argument("--sessions", type=int, nargs=2, default=(900, 160), help="of training and test part")
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    if args.root:
        folders = [str(args.root / f) for f in ("usr/sbin", "usr/bin")]
        os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *folders, "/usr/sbin"])
        os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(str(args.root / f) for f in (
            "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    with Net() as net:
        for part, sessions in zip(("train", "test"), args.sessions):
            collect(net, part, sessions, args.out)


if __name__ == "__main__":
    main()
