#!/bin/sh
# The first process of the guest: its root is the shared one, read-only, under a layer in memory. Runs the script that
# the host has put into the control directory, and switches the machine off.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev 2>/dev/null
for module in $($b cat /modules/order); do $b insmod "/modules/$module"; done
options=trans=virtio,version=9p2000.L,msize=262144
$b mount -t tmpfs tmpfs /upper
$b mkdir /upper/files /upper/work
$b mount -t 9p -o "$options,ro,cache=loose" root /lower
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new || $b poweroff -f
$b mount -t 9p -o "$options" share /new/mnt/share
$b mount -t 9p -o "$options" control /new/mnt/control
$b mount -t proc proc /new/proc
$b mount -t sysfs sysfs /new/sys
$b mount -t devtmpfs dev /new/dev
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
for folder in dev/shm tmp run; do $b mount -t tmpfs tmpfs "/new/$folder"; done
$b chmod 1777 /new/tmp
$b mount -t tracefs tracefs /new/sys/kernel/tracing
$b mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
$b mount -t bpf bpf /new/sys/fs/bpf
$b ip link set lo up
$b date -s "@$($b cat /new/mnt/control/clock)" >/dev/null
export PATH=/usr/sbin:/usr/bin HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 TERM=dumb
cd /
$b chroot /new /bin/sh /mnt/control/script > /new/mnt/control/output 2>&1 < /dev/null
echo $? > /new/mnt/control/status
$b sync
$b poweroff -f
