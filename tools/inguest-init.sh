#!/bin/busybox sh
# The v2 guest's first program: load the disk drivers, mount the disks, hand over to main.sh.
/bin/busybox mkdir -p /dev /new
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do
    # A module that is not there is built in.
    [ -e "/modules/$module.ko" ] && /bin/busybox insmod "/modules/$module.ko"
done
/bin/busybox mount -t ext4 -o noatime /dev/vda /new && /bin/busybox mount -t ext4 -o noatime /dev/vdb /new/code ||
    /bin/busybox poweroff -f
exec /bin/busybox switch_root /new /bin/busybox sh /code/main.sh
