# shellcheck shell=bash disable=SC2154
# What the scripts `run` of the examples share; they source it. `here` is the example's folder, `captures_dir` that of the
# captures that it is tried on, `drops` the decisions that drop (default: drop), `pace` an option of tcpreplay (default:
# the capture's own). As root on Debian 12; needs no Python. Leaves nothing behind but packages and build/release.

source_dir=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
sender=mlc-send-$$
receiver=mlc-receive-$$
work=

die() {
    echo "$0: $*" >&2
    exit 1
}

clean_up() {
    set +e
    if mountpoint --quiet "$work/bpf"; then
        umount "$work/bpf"
    fi
    for net in "$sender" "$receiver"; do
        if [[ -e /run/netns/$net ]]; then
            ip netns del "$net"
        fi
    done
    rm -rf "$work"
}

at() {
    local net=$1
    shift
    nsenter --net="/run/netns/$net" "$@"
}

build() {
    "$source_dir/tools/install-deps" iproute2 tcpreplay util-linux
    echo "Building; this takes about a minute the first time"
    (
        cd "$source_dir"
        cmake --preset release --log-level=WARNING >/dev/null
        cmake --build --preset release -- --quiet
    )
    MLC_BIN=$source_dir/build/release/bin
}

# prepare [CAPTURE...]: sets `captures` (all of them without arguments) and `work`, and finds mlc and mlc-run.
prepare() {
    local name path
    [[ $EUID -eq 0 ]] || die "must run as root: it loads programs into the kernel and makes network namespaces"
    captures=("$@")
    if [[ $# -eq 0 ]]; then
        for path in "$captures_dir"/*.pcap; do
            captures+=("$(basename "$path" .pcap)")
        done
    fi
    for name in "${captures[@]}"; do
        [[ -e $captures_dir/$name.pcap ]] || die "no capture '$name' in $captures_dir"
    done
    if [[ -z ${MLC_BIN:-} ]]; then
        build
    fi
    PATH=$MLC_BIN:$PATH
    work=$(mktemp -d "${TMPDIR:-/tmp}/mlc-example-XXXXXX")
    trap clean_up EXIT
}

# compile [OPTION...]: model.onnx to a program for the device, to one whose clock is the captures', and by itself.
compile() {
    echo "== Compile: model.onnx to a program for the device, and to one whose clock is the captures'"
    mlc --target=bpf-xdp --stats "$@" -o "$work/filter.o" "$here/model.onnx"
    mlc --target=bpf-xdp --clock=map "$@" -o "$work/replay.o" "$here/model.onnx"
    mlc --target=bpf-raw "$@" -o "$work/model.o" "$here/model.onnx"
}

verify() {
    echo
    echo "== Verify: kernel $(uname -r), $(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)"
    (cd "$work" && mlc-run verify filter.o)
}

# measure [INPUTS.npz]: the model alone on these inputs, or on random ones.
measure() {
    echo
    echo "== Measure: a whole packet, from parsing to verdict, then the model alone"
    mlc-run bench "$work/filter.o" --inputs="$captures_dir/${captures[0]}.pcap"
    mlc-run bench "$work/model.o" ${1:+--inputs="$1"}
}

# judge REFERENCES [OPTION...]: packets go one by one through the program in the kernel, each at its own time; labels
# are in CAPTURE.golden.npz beside the capture, onnxruntime's scores in that file in the folder REFERENCES.
judge() {
    local references=$1 name
    shift
    echo
    echo "== Judge: every packet at the capture's time"
    printf '%-22s %7s %8s   %7s %8s   %s\n' "" "benign" "" "malicious" "" "decides like onnxruntime"
    printf '%-22s %7s %8s   %7s %8s\n' capture passed dropped passed dropped
    for name in "${captures[@]}"; do
        mlc-run replay "$work/replay.o" "$captures_dir/$name.pcap" --labels="$captures_dir/$name.golden.npz" \
            --reference="$references/$name.golden.npz" "$@" |
            awk -v name="$name" '
                $1 == "0" { benign_dropped = $2; benign_passed = $3 }
                $1 == "1" { malicious_dropped = $2; malicious_passed = $3 }
                $1 == "reference:" { agree = $2; of = $4 }
                END { print name, benign_passed + 0, benign_dropped + 0, malicious_passed + 0, malicious_dropped + 0,
                      agree, of }'
    done | awk '
        function row(name, bp, bd, mp, md, agree, of) {
            printf "%-22s %7d %8d   %7d %8d   %d of %d, %.4f\n", name, bp, bd, mp, md, agree, of, agree / of
        }
        { row($1, $2, $3, $4, $5, $6, $7); for (i = 2; i <= 7; i++) sum[i] += $i }
        END {
            row("total", sum[2], sum[3], sum[4], sum[5], sum[6], sum[7])
            all = sum[2] + sum[3] + sum[4] + sum[5]
            printf "accuracy %.4f over %d labelled packets\n", (sum[2] + sum[5]) / all, all
        }'
}

connect() {
    ip netns add "$sender"
    ip netns add "$receiver"
    at "$sender" ip link add wire0 type veth peer name wire1 netns "$receiver"
    at "$sender" ip link set wire0 up
    at "$receiver" ip link set wire1 up
    mkdir "$work/bpf"
    mount -t bpf bpf "$work/bpf"
}

# IPv4 packets that the receiver's network stack was handed.
arrived() {
    at "$receiver" awk '$1 == "Ip:" && ++line == 2 { print $4 }' /proc/net/snmp
}

# Each capture is sent from one network namespace to a device in another; the filter starts anew for each.
filter() {
    local name mac sent before counts passed dropped
    echo
    echo "== Filter: attached to a device, packets from another network namespace"
    connect
    mac=$(at "$receiver" ip -brief link show wire1 | awk '{ print $3 }')
    printf '%-22s %7s %8s %8s %6s\n' capture sent dropped arrived lost
    for name in "${captures[@]}"; do
        at "$receiver" mlc-run attach "$work/filter.o" --dev=wire1 --name=example --bpffs="$work/bpf" >/dev/null
        before=$(arrived)
        at "$sender" tcpreplay-edit ${pace:-} --intf1=wire0 --enet-dmac="$mac" "$captures_dir/$name.pcap" \
            >"$work/sent" 2>&1 || die "tcpreplay: $(tail -n 1 "$work/sent")"
        sent=$(awk '/Successful packets:/ { print $3 }' "$work/sent")
        sleep 0.2
        counts=$(at "$receiver" mlc-run stats example --bpffs="$work/bpf")
        dropped=$(awk -v drops="${drops:-drop}" '
            BEGIN { split(drops, names, " "); for (i in names) is_drop[names[i]] = 1 }
            $1 == "decision" && $2 in is_drop { sum += $3 }
            END { print sum + 0 }' <<<"$counts")
        passed=$(($(arrived) - before))
        at "$receiver" mlc-run detach example --bpffs="$work/bpf" >/dev/null
        printf '%-22s %7d %8d %8d %6d\n' "$name" "$sent" "$dropped" "$passed" $((sent - dropped - passed))
    done
}
