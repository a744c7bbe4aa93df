# The parts of the cluster: what is prepared, the network, the nodes' files, and its components, each started, stopped and asked by name.
# Sourced by "cluster". Uses $here, $checkout, $state and own.sh.

components=(node-a node-b containerd-a containerd-b etcd apiserver controllers scheduler proxy-a proxy-b kubelet-a kubelet-b)
node_path=/mnt/checkpoint-agent/tools/node/node_modules/.bin:/opt/kubernetes:/opt/containerd:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
address() { [ "$1" = a ] && echo 10.213.0.11 || echo 10.213.0.12; }
pod_range() { [ "$1" = a ] && echo 10.214.1.0/24 || echo 10.214.2.0/24; }

# --- parts --------------------------------------------------------------------------------------------------------

prepare() { # prepare PART...: prints the folder of each
  local part
  for part in "$@"; do
    case $part in
      root | containerd-2.4) "$here/../e2e/harness/prepare" "$part" ;;
      kubernetes | helm) "$here/prepare" "$part" ;;
    esac
  done
}
parts=(root kubernetes containerd-2.4 helm)

network() { # two nodes on one switch; nothing leads out
  local n
  mountpoint -q /run/netns || touch "$state/mounts-netns"
  ip netns add "$own-switch"
  ip -n "$own-switch" link add br0 type bridge; ip -n "$own-switch" link set br0 up
  for n in a b; do
    ip netns add "$own-$n"; ip -n "$own-$n" link set lo up
    ip link add eth0 netns "$own-$n" type veth peer name "to-$n" netns "$own-switch"
    ip -n "$own-switch" link set "to-$n" master br0 up
    ip -n "$own-$n" addr add "$(address $n)/24" dev eth0; ip -n "$own-$n" link set eth0 up
    nsenter --net="/run/netns/$own-$n" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
  done
  # a default route must exist for service addresses to be routable; each node knows the other's pods
  for n in a b; do
    local other=a; [ $n = b ] || other=b
    ip -n "$own-$n" route add default via "$(address $other)"
    ip -n "$own-$n" route add "$(pod_range $other)" via "$(address $other)"
  done
}

node_files() { # node_files a|b: the node's own files, above the shared root folder
  local n=$1 top=$state/node-$1/upper architecture=amd64
  [ "$(uname -m)" != aarch64 ] || architecture=arm64
  mkdir -p "$state/node-$n"/{upper,work,root,manifests,kubelet.conf.d} "$state/node-$n/lib"/{containerd,kubelet}
  chmod 750 "$state/node-$n/lib/kubelet"
  mkdir -p "$top"/etc/{cni/net.d,containerd}
  sed "s/ARCHITECTURE/$architecture/" "$here/containerd.toml" >"$top/etc/containerd/config.toml"
  cat >"$top/etc/cni/net.d/10-bridge.conflist" <<J
{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"$(pod_range "$n")"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}
J
  printf '127.0.0.1 localhost\n%s node-a\n%s node-b\n' "$(address a)" "$(address b)" >"$top/etc/hosts"
  printf '%s\n' "node-$n" >"$top/etc/hostname"
  printf '%s\n' "node-$n" | sha256sum | cut -c1-32 >"$top/etc/machine-id"
  : >"$top/etc/resolv.conf"
}

# --- components ---------------------------------------------------------------------------------------------------

# Sets "enter", the words before a command that runs it on node a or b.
enter_node() {
  local line; { read -r line <"$state/pid/node-$1"; } 2>/dev/null || fail "Cannot enter node \"$1\": the cluster is down"
  enter=(nsenter -t "${line%% *}" -m -n -u --)
}

start() { # start NAME COMMAND...: in the background, in the cluster's own cgroup, with its log and its pid file
  local name=$1; shift
  (echo "$BASHPID" >"$(tracker)/cgroup.procs"; exec setsid "$@") >>"$state/log/$name.log" 2>&1 </dev/null &
  identity $! >"$state/pid/$name" || true
  disown $!      # or bash reports its end
}

start_component() {
  local n=${1##*-} enter clean=(env -i PATH="$node_path" HOME=/root)
  case $1 in
    node-?)
      rm -f "$state/node-$n/entered"
      start "$1" "${clean[@]}" PATH="$PATH" NODE="$n" STATE="$state" CHECKOUT="$checkout" LOWER="$(prepare root)" KUBERNETES="$(prepare kubernetes)" \
        CONTAINERD="$([ "$n" = a ] || prepare containerd-2.4)" \
        unshare --uts nsenter --net="/run/netns/$own-$n" unshare --mount --propagation private bash "$here/enter-node" ;;
    containerd-?) enter_node "$n"; start "$1" "${enter[@]}" "${clean[@]}" containerd -c /etc/containerd/config.toml ;;
    *)
      case $n in a | b) ;; *) n=a ;; esac
      enter_node "$n"
      start "$1" "${enter[@]}" "${clean[@]}" NODE="$n" ADDRESS="$(address "$n")" bash /mnt/checkpoint-agent/test/cluster/control-plane "${1%-[ab]}" ;;
  esac
}

stop_component() {
  local line try
  is_alive "$state/pid/$1" || return 0
  read -r line <"$state/pid/$1"
  kill "${line%% *}" 2>/dev/null || true
  for try in $(seq 100); do is_alive "$state/pid/$1" || return 0; sleep 0.1; done
  kill -9 "${line%% *}" 2>/dev/null || true
}

is_ready() { # is_ready COMPONENT: it runs, and answers if there is something to ask it
  local n=${1##*-} enter
  is_alive "$state/pid/$1" || return 1
  case $1 in
    node-?) [ -e "$state/node-$n/entered" ] ;;
    containerd-?) enter_node "$n"; "${enter[@]}" env PATH="$node_path" ctr version ;;
    apiserver) kubectl get --raw /readyz ;;
    kubelet-?) kubectl get --raw "/api/v1/nodes/node-$n/proxy/healthz" && knows_its_pods "$n" ;;
  esac >/dev/null 2>&1
}

knows_its_pods() { # a kubelet that has just started answers for no pod yet
  local known name
  known=$(kubectl get --raw "/api/v1/nodes/node-$1/proxy/pods") || return 1
  for name in $(kubectl get pods -A --field-selector "spec.nodeName=node-$1" -o 'jsonpath={.items[*].metadata.name}'); do
    [[ $known == *"\"name\":\"$name\""* ]] || return 1
  done
}

wait_until() { # wait_until SECONDS COMPONENT CHECK...: fails at once when the component ends
  local end=$((SECONDS + $1)) name=$2; shift 2
  until "$@"; do
    is_alive "$state/pid/$name" || fail_with_log "$name" "it ended"
    [ $SECONDS -lt $end ] || fail_with_log "$name" "no answer for too long"
    sleep 0.2
  done
}
fail_with_log() {
  tail -n 15 "$state/log/$1.log" >&2 || true
  fail "Cannot start \"$1\": $2 (the end of its log is above; \"cluster log $1 100\" shows more, the next \"cluster up\" starts afresh)"
}
