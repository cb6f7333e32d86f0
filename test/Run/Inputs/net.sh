# Sourced by tests: a network namespace of their own with the pair veth0 - veth1, and a BPF file system.
# `in_net COMMAND...` runs there; $bpffs is the file system; all of it goes when the shell exits.
# `ip netns exec` would hide mounted BPF file systems, hence nsenter.
set -eu
net=mlc-test-$$
bpffs=$(mktemp -d /tmp/mlc-test-XXXXXX)

clean_up() {
    umount "$bpffs" && rmdir "$bpffs"
    ip netns del "$net"
}

in_net() { nsenter --net="/run/netns/$net" "$@"; }

ip netns add "$net"
trap clean_up EXIT
mount -t bpf bpf "$bpffs"
in_net ip link add veth0 type veth peer name veth1
in_net ip link set veth0 up
in_net ip link set veth1 up
