# What a machine's container can do: one line for each part, `<part> works` or what it said instead.
say() { part=$1; shift; if said=$("$@" 2>&1); then echo "$part works"; else echo "$part $(echo "$said" | tail -n 1)"; fi; }
xattr() { python3 -c 'import os; os.setxattr("/probe", "trusted.stormbed", b"1")' || setfattr -n trusted.stormbed -v 1 /probe; }
overlay() { mkdir -p /probe/l /probe/u /probe/w /probe/m && mount -t overlay overlay -o lowerdir=/probe/l,upperdir=/probe/u,workdir=/probe/w /probe/m; }
say iptables iptables -w 5 -A OUTPUT -d 192.0.2.1 -j DROP
say statistic iptables -w 5 -t raw -A PREROUTING -s 192.0.2.1 -m statistic --mode random --probability 0.5 -j DROP
say nfqueue iptables -w 5 -t raw -A PREROUTING -s 192.0.2.1 -j NFQUEUE --queue-num 21300 --queue-bypass
say mac iptables -w 5 -t raw -A PREROUTING -m mac --mac-source 00:00:00:00:00:00 -j DROP
say fuse test -c /dev/fuse
say xattr xattr
say overlay overlay
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo "cgroup v2"; elif [ -d /sys/fs/cgroup/memory ]; then echo "cgroup v1"; else echo "cgroup none"; fi
