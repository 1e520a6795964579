#!/bin/sh
# How the guest goes down, whoever asks: the power button (acpid), the agent, or a test inside it.
# What is on the disks is written and unmounted first. A deaf guest does nothing, and says so.
export PATH=/bin
exec >/dev/console 2>&1
if [ -e /run/deaf ] && [ "$1" != --anyway ]; then
  echo "DEAF to a request to go down"
  exit 0
fi
how=poweroff
case " $* " in
*" -r "*) how=reboot ;;
*" -H "*) how=halt ;;
esac
echo "DOWN $how"
sync
for place in /mnt/*; do
  [ -d "$place" ] && umount -l "$place"
done
sync
$how -f
