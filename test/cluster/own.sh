# What the cluster owns on this machine, and how all of it ends. Sourced by "cluster".
# Everything is found by what the cluster itself made (pid files, cgroups, network namespaces, overlays of its state folder), nothing by
# a process's name. Uses $state.

own=checkpoint-cluster                     # our cgroups, and the prefix of our network namespaces
place=/run/checkpoint-agent-cluster        # the same for every checkout: one cluster at a time on a machine
namespaces=("$own-a" "$own-b" "$own-switch")

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# --- processes, by number and start time: a number alone can be another process by now -----------------------------

identity() { # identity PID: prints its number, start time and boot; fails when it does not run
  local stat=''
  # not $(<file): bash ends the whole script when that file is missing
  { read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null || [ -n "$stat" ] || return 1
  set -- "$1" ${stat##*) }       # what follows the name: state, parent, …
  [ "$2" != Z ] && echo "$1 ${21} $(</proc/sys/kernel/random/boot_id)"
}

is_alive() { # is_alive FILE: the process of a pid file
  local line=''
  { read -r line <"$1"; } 2>/dev/null && [ "$(identity "${line%% *}")" = "$line" ]
}

# --- one "cluster" at a time --------------------------------------------------------------------------------------

# The holder is a process, not an open file: a killed script keeps nothing locked, nor do the children that outlive it.
lock() {
  local told='' holder
  mkdir -p -m 700 "$place"
  until take_lock; do
    holder=$(cat "$place/holder" 2>/dev/null) || true
    [ -n "$told" ] || say "waiting for another \"cluster\" (process ${holder%% *}) to end"
    told=1; sleep 0.3
  done
  trap 'rm -f "$place/holder"' EXIT
}
take_lock() (
  exec 9>"$place/lock"; flock 9
  ! is_alive "$place/holder" && identity $$ >"$place/holder"
)

# --- cgroups ------------------------------------------------------------------------------------------------------

hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts; }

# Every process of the cluster starts in this one, whatever it does afterwards: in the v2 tree where there is one, else in v1's freezer.
tracker_root() {
  awk '$3 == "cgroup2" { v2 = v2 ? v2 : $2 } $3 == "cgroup" && $4 ~ /(^|,)freezer(,|$)/ { v1 = v1 ? v1 : $2 } END { print v2 ? v2 : v1 }' /proc/self/mounts
}
tracker() { echo "$(tracker_root)/$own/processes"; }

make_cgroups() { # one for each node in every hierarchy
  local root folder controller
  for root in $(hierarchies); do
    for folder in "$own" "$own/node-a" "$own/node-b"; do
      mkdir -p "$root/$folder"
      # cpuset must be filled before use
      for f in cpuset.cpus cpuset.mems; do [ ! -e "$root/cpuset.sched_load_balance" ] || cat "$root/$f" >"$root/$folder/$f"; done
    done
    # pure v2: containers get only the controllers that are passed down
    if [ "$root" = /sys/fs/cgroup ]; then
      for folder in "$root" "$root/$own"; do
        for controller in $(cat "$folder/cgroup.controllers"); do echo "+$controller" >"$folder/cgroup.subtree_control" || true; done
      done 2>/dev/null
    fi
  done
  mkdir -p "$(tracker)"
}

leave_tracker() { # before all of it is killed
  local root; root=$(tracker_root)
  if grep -qw "$$" "$root/$own/processes/cgroup.procs" 2>/dev/null; then echo $$ >"$root/cgroup.procs"; fi
}

# --- what is there ------------------------------------------------------------------------------------------------

own_cgroups() { local root; for root in $(hierarchies); do find "$root/$own" -depth -type d 2>/dev/null || true; done; }

own_processes() { # everything in our cgroups, in our network namespaces, or that has a node's overlay mounted; but not this script
  local folder process name pid
  {
    for folder in $(own_cgroups); do cat "$folder/cgroup.procs" 2>/dev/null || true; done
    for process in /proc/[0-9]*; do
      for name in "${namespaces[@]}"; do [ "$process/ns/net" -ef "/run/netns/$name" ] && echo "${process#/proc/}"; done
    done
    grep -lF "upperdir=$state/" /proc/[0-9]*/mountinfo 2>/dev/null | cut -d/ -f3 || true
  } | sort -un | while read -r pid; do [ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || ! identity "$pid" >/dev/null || echo "$pid"; done
}

own_mounts() { awk -v state="$state/" 'index($5, state) == 1 { print $5 }' /proc/self/mountinfo | sort -r; }

node_processes() { # node_processes a|b: its containers, their shims, and what else runs in the node but the components
  local root process line node components=''
  read -r line <"$state/pid/node-$1"; node=${line%% *}
  for process in "$state"/pid/*; do read -r line <"$process"; components+=" ${line%% *} "; done
  {
    for root in $(hierarchies); do find "$root/$own/node-$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done
    for process in /proc/[0-9]*; do [ "$process/ns/mnt" -ef "/proc/$node/ns/mnt" ] && echo "${process#/proc/}"; done
  } | sort -un | while read -r line; do [[ $components == *" $line "* ]] || ! identity "$line" >/dev/null || echo "$line"; done
}

kill_containers() { # kill_containers a|b
  local pid remaining folder root end=$((SECONDS + 20))
  while remaining=$(node_processes "$1"); [ -n "$remaining" ]; do
    [ $SECONDS -lt $end ] || fail "Cannot kill the containers of node $1: still there after 20 s: $(echo $remaining)"
    for pid in $remaining; do kill -9 "$pid" 2>/dev/null || true; done
    for root in $(hierarchies); do
      for folder in $(find "$root/$own/node-$1" -type d 2>/dev/null); do thaw "$folder"; done
    done
    sleep 0.1
  done
}

thaw() { # a frozen task of cgroup v1 does not die
  if [ -e "$1/freezer.state" ]; then echo THAWED >"$1/freezer.state"; fi
  if [ -e "$1/cgroup.freeze" ]; then echo 0 >"$1/cgroup.freeze"; fi
} 2>/dev/null

leftovers() { # one line each
  local pid folder name mount
  for pid in $(own_processes); do echo "process $pid ($(cat "/proc/$pid/comm" 2>/dev/null || true))"; done
  for folder in $(own_cgroups); do echo "cgroup $folder"; done
  for name in "${namespaces[@]}"; do [ ! -e "/run/netns/$name" ] || echo "network namespace $name"; done
  for mount in $(own_mounts); do echo "mount $mount"; done
  for folder in "$state" "$state.making"; do [ ! -e "$folder/.checkpoint-agent-cluster" ] || echo "folder $folder"; done
  [ ! -e "$place/cluster" ] || echo "file $place/cluster"
}

# --- the end ------------------------------------------------------------------------------------------------------

teardown() {
  local remaining folder name mount end=$((SECONDS + 30))
  leave_tracker
  while :; do
    kill_all
    # a moment for the kernel; the first look nearly always finds the cgroups still in use
    sleep 0.1
    for folder in $(own_cgroups); do rmdir "$folder" 2>/dev/null || true; done
    remaining=$(own_processes; own_cgroups)
    [ -n "$remaining" ] || break
    [ $SECONDS -lt $end ] || fail "Cannot end the cluster: still there after 30 s: $(echo $remaining)"
  done
  for name in "${namespaces[@]}"; do [ ! -e "/run/netns/$name" ] || ip netns delete "$name"; done
  # "ip netns" mounts this folder onto itself; busy when somebody else has a namespace in it
  if [ -e "$state/mounts-netns" ]; then umount /run/netns 2>/dev/null || true; fi
  for mount in $(own_mounts); do umount -l "$mount"; done
  restore_kernel_settings
  for folder in "$state" "$state.making"; do
    [ ! -e "$folder/.checkpoint-agent-cluster" ] || rm -rf --one-file-system "$folder"
  done
  rm -f "$place/cluster"
}

kill_all() { # the components first, so that nothing starts or freezes anew
  local file line pid folder
  for file in "$state"/pid/*; do
    if is_alive "$file"; then read -r line <"$file"; kill -9 "${line%% *}" 2>/dev/null || true; fi
  done
  for pid in $(own_processes); do kill -9 "$pid" 2>/dev/null || true; done
  for folder in $(own_cgroups); do
    thaw "$folder"
    if [ -e "$folder/cgroup.kill" ]; then echo 1 >"$folder/cgroup.kill"; fi
  done 2>/dev/null || true
}

# The kubelet sets these for the whole machine, a panic on every kernel warning among them.
kernel_settings=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes)
save_kernel_settings() {
  local key
  for key in "${kernel_settings[@]}"; do [ ! -e "/proc/sys/$key" ] || echo "$key $(<"/proc/sys/$key")"; done >"$state/kernel-settings"
}
restore_kernel_settings() {
  local key value
  [ -e "$state/kernel-settings" ] || return 0
  while read -r key value; do echo "$value" >"/proc/sys/$key"; done <"$state/kernel-settings"
}
