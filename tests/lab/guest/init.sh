#!/bin/sh
# The whole of the lab's guest: it loads its drivers, looks after its disks and CPUs, and says about
# once a second how it is. It asks nobody and changes no disk, but for one that the kernel's command
# line names as lab.format=NAME and that is blank. Of a cloud-init seed that it finds it says once who
# the seed says that it is, and the digest of the user data.
#
#   lab.format=vdb   make an ext4 file system on vdb, if vdb is blank
#   lab.deaf=1       ignore the power button and the agent's shutdown, as a hung guest does
#   lab.noballoon=1  load no balloon driver, so that memory does not follow
#   lab.ip=A/N       give the first network card that address
export PATH=/bin # the shell prefers busybox's own programs; a real one needs its whole path
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
exec </dev/console >/dev/console 2>&1

format=
deaf=
noballoon=
address=
read -r cmdline </proc/cmdline
for word in $cmdline; do
  case $word in
  lab.format=*) format="$format ${word#*=}" ;;
  lab.deaf=1) deaf=1 ;;
  lab.noballoon=1) noballoon=1 ;;
  lab.ip=*) address=${word#*=} ;;
  esac
done

while read -r module; do
  [ "$module:$noballoon" = virtio_balloon:1 ] && continue
  insmod "/lib/modules/$module.ko" 2>/dev/null
done </lib/modules/order

ip link set lo up
if [ -z "$deaf" ]; then
  acpid -f -l /dev/null &
else
  touch /run/deaf
fi

read -r boot </proc/sys/kernel/random/boot_id
agent=
agent_port=/dev/virtio-ports/org.qemu.guest_agent.0

start_agent() {
  mkdir -p /dev/virtio-ports
  for port in /sys/class/virtio-ports/*/name; do
    [ -e "$port" ] || continue
    read -r name <"$port" || continue
    node=${port%/name}
    [ -e "/dev/virtio-ports/$name" ] || ln -s "/dev/${node##*/}" "/dev/virtio-ports/$name"
  done
  [ -e $agent_port ] || return
  qemu-ga -m virtio-serial -p $agent_port -t /run -f /run/qemu-ga.pid >/run/agent.log 2>&1 &
  agent=1
}

# has_ext4 NAME: the two bytes at 1080 are ext4's magic number.
has_ext4() { [ "$(dd if="/dev/$1" bs=1 skip=1080 count=2 2>/dev/null | hexdump -e '2/1 "%02x"')" = 53ef ]; }
is_blank() { cmp -s -n 1048576 "/dev/$1" /dev/zero; }

look_after_disks() {
  for place in /mnt/*; do
    [ -d "$place" ] || continue
    [ -e "/sys/block/${place#/mnt/}" ] || { umount -l "$place" && rmdir "$place"; }
  done
  for disk in /sys/block/vd* /sys/block/xvd* /sys/block/sd* /sys/block/hd*; do
    [ -e "$disk" ] || continue
    name=${disk##*/}
    [ -d "/mnt/$name" ] && continue
    case " $seen_empty " in *" $name "*) continue ;; esac
    if ! has_ext4 "$name"; then
      case " $format " in
      *" $name "*) is_blank "$name" && /bin/mke2fs -q -t ext4 "/dev/$name" ;;
      esac
    fi
    if has_ext4 "$name"; then
      mkdir -p "/mnt/$name"
      mount -t ext4 "/dev/$name" "/mnt/$name" || rmdir "/mnt/$name"
    else
      seen_empty="$seen_empty $name" # looked at once: reading a disk every second is not quiet
    fi
  done
  # A disk that went may come back under its name with something on it.
  for name in $seen_empty; do
    [ -e "/sys/block/$name" ] || seen_empty=
  done
}

# is_seed NAME: an ISO 9660 file system with the label that cloud-init looks for.
is_seed() { [ "$(dd if="/dev/$1" bs=1 skip=32808 count=6 2>/dev/null)" = cidata ]; }

look_for_seeds() {
  for disk in /sys/block/vd* /sys/block/xvd* /sys/block/sr*; do
    [ -e "$disk" ] || continue
    name=${disk##*/}
    case " $seeds_seen " in *" $name "*) continue ;; esac
    seeds_seen="$seeds_seen $name" # asked once: a seed is there when its guest starts, or never
    is_seed "$name" || continue
    mkdir -p /run/seed
    mount -t iso9660 -o ro "/dev/$name" /run/seed || continue
    instance=$(sed -n 's/.*"instance-id": "\([^"]*\)".*/\1/p' /run/seed/meta-data)
    user=$(sha256sum </run/seed/user-data)
    umount /run/seed # so that it can be taken away
    echo "SEED {\"disk\": \"$name\", \"instance\": \"$instance\", \"user\": \"${user%% *}\"}"
  done
}

bring_up_cpus() {
  for switch in /sys/devices/system/cpu/cpu*/online; do
    [ -e "$switch" ] || continue
    read -r on <"$switch"
    [ "$on" = 1 ] || echo 1 >"$switch"
  done
}

bring_up_nics() {
  for nic in /sys/class/net/*; do
    nic=${nic##*/}
    [ "$nic" = lo ] && continue
    case " $nics_up " in *" $nic "*) continue ;; esac
    ip link set "$nic" up
    [ -n "$address" ] && ip address add "$address" dev "$nic" && address=
    nics_up="$nics_up $nic"
  done
}

say() {
  read -r up _ </proc/uptime
  cpus=0
  while read -r word _; do
    [ "$word" = processor ] && cpus=$((cpus + 1))
  done </proc/cpuinfo
  while read -r word value _; do
    [ "$word" = MemTotal: ] && memory=$value && break
  done </proc/meminfo
  disks=
  for disk in /sys/block/vd* /sys/block/xvd* /sys/block/sd* /sys/block/hd* /sys/block/sr*; do
    [ -e "$disk" ] || continue
    read -r sectors <"$disk/size"
    disks="$disks${disks:+, }\"${disk##*/}\": $((sectors * 512))"
  done
  nics=
  for nic in /sys/class/net/*; do
    nic=${nic##*/}
    [ "$nic" = lo ] || nics="$nics${nics:+, }\"$nic\""
  done
  data=
  for place in /mnt/*; do
    [ -r "$place/data" ] || continue
    read -r text <"$place/data"
    text=$(printf '%.120s' "$text" | tr -cd 'A-Za-z0-9 .,:;_/@+=-')
    data="$data${data:+, }\"${place#/mnt/}\": \"$text\""
  done
  echo "SAYS {\"boot\": \"$boot\", \"up\": $up, \"cpus\": $cpus, \"mem_kb\": $memory," \
    "\"disks\": {$disks}, \"nics\": [$nics], \"data\": {$data}}"
}

while :; do
  [ -n "$agent" ] || start_agent
  bring_up_cpus
  bring_up_nics
  look_after_disks
  look_for_seeds
  say
  sleep 1
done
