#!/bin/bash
# What the unit promises, tried one by one inside of the booted container. Ends at the first that does not hold.
exec > /opt/out/said 2>&1
log=/var/log/calico/flowlogs/flows.log
flows() { flowd status --runtime-dir /run/flowd -o json | grep -oE '"lines": [0-9]+' | head -n 1; }
fails() { echo "failed: $1"; systemctl status flowd --no-pager -l; journalctl -u flowd --no-pager | tail -n 40; exit 1; }
until_true() { for _ in $(seq 600); do eval "$2" && return; sleep 0.1; done; fails "$1"; }
show() { systemctl show flowd -P "$1"; }
well() { echo "well: $1"; }

cd /opt/checkout || fails "the checkout"
bash -e /opt/in/install || fails "what docs/operations.md says"
[ "$(show ActiveState) $(show UnitFileState)" = "active enabled" ] || fails "it runs, and is started at the next boot"
systemctl stop flowd
well "installed as documented"

# /etc/flowd as systemd makes it where it is missing: the user must be able to read what is put there.
mv /etc/flowd /etc/flowd.given
systemctl start flowd 2> /dev/null && fails "a start without a configuration"
[ "$(stat -c '%U %a' /etc/flowd)" = "flowd 750" ] || fails "/etc/flowd: $(stat -c "%U %a" /etc/flowd)"
cp -a /etc/flowd.given/. /etc/flowd
systemctl stop flowd
systemctl start flowd || fails "the start"
[ "$(show ActiveState) $(show SubState)" = "active running" ] || fails "ready"
flowd status --runtime-dir /run/flowd --check ready || fails "it answers as soon as it is ready"
well "ready is said when it answers: $(show StatusText)"

[ "$(stat -c '%U:%G %a' /run/flowd)" = "flowd:flowd 2750" ] || fails "the runtime directory"
[ "$(stat -c '%U:%G %a' /run/flowd/live.sock /run/flowd/admin.sock | xargs)" = "flowd:flowd 660 flowd:flowd 600" ] || fails "the sockets"
[ "$(stat -c '%U:%G %a' /var/lib/flowd)" = "flowd:flowd 750" ] || fails "the state directory"
pid=$(show MainPID)
[ "$(awk '/^(CapEff|CapBnd|CapPrm):/ {print $2}' /proc/$pid/status | sort -u)" = 0000000000000000 ] || fails "capabilities"
[ "$(awk '/^(NoNewPrivs|Seccomp):/ {print $2}' /proc/$pid/status | xargs)" = "1 2" ] || fails "the sandbox"
well "user, modes, no capabilities, system calls filtered, memory at most $(show MemoryMax) bytes"

echo '{"source_namespace":"shop"}' >> $log
until_true "a followed line" '[ "$(flows)" = "\"lines\": 1" ]'
well "a file is followed"

sed -i 's/pattern dev/pattern shop/' /etc/flowd/filters/flow
systemctl reload flowd || fails "the reload"
flowd status --runtime-dir /run/flowd -o json | grep -q '"generation": 2' || fails "the reload was not over"
well "reload waits until the new filters decide"
cp /etc/flowd/filters/flow /etc/flowd/good
echo '<filter' > /etc/flowd/filters/flow
systemctl reload flowd 2> /dev/null && fails "a reload of broken filters succeeds"
[ "$(show ActiveState)" = active ] || fails "broken filters ended the daemon"
cp /etc/flowd/good /etc/flowd/filters/flow
well "reload fails on broken filters, and the daemon goes on"

kill -STOP "$pid"
until_true "the watchdog" '[ "$(show NRestarts)" = 1 ] && [ "$(show ActiveState)" = active ]'
[ "$(show MainPID)" != "$pid" ] || fails "another process"
until_true "the line is still there" 'flowd observe --runtime-dir /run/flowd --last 1 -q | grep -q shop'
well "a daemon that stands still is replaced by the watchdog, and the journal is whole"

kill -KILL "$(show MainPID)"
until_true "the restart" '[ "$(show NRestarts)" = 2 ] && [ "$(show ActiveState)" = active ]'
well "a killed daemon is started again"

echo '<filter' > /etc/flowd/filters/flow
systemctl restart flowd 2> /dev/null && fails "broken filters start"
[ "$(show ExecMainStatus) $(show ActiveState)" = "78 failed" ] || fails "broken filters: $(show ExecMainStatus)"
well "broken filters end the start with 78, and it is not tried again"

cp /etc/flowd/good /etc/flowd/filters/flow
systemctl reset-failed flowd
systemctl start flowd || fails "the second start"
mkdir -p /etc/flowd-secrets /etc/systemd/system/flowd.service.d
echo a-secret > /etc/flowd-secrets/token
chmod -R go= /etc/flowd-secrets
printf '[Service]\nLoadCredential=token:/etc/flowd-secrets/token\n' > /etc/systemd/system/flowd.service.d/sink.conf
cat >> /etc/flowd/flowd.toml << 'EOF'
[sinks.cluster]
type = "nats"
servers = ["nats://127.0.0.1:4222"]
token_file = "/run/credentials/flowd.service/token"
EOF
systemctl daemon-reload
systemctl restart flowd || fails "a start with a sink and its credential"
until_true "the sink tries" 'flowd status --runtime-dir /run/flowd -o json | grep -q "127.0.0.1., 4222"'
well "a sink gets its secret as a credential, and tries its server"

systemctl stop flowd || fails "the end"
[ "$(show Result) $(show ExecMainStatus)" = "success 0" ] || fails "the end: $(show Result)"
[ -d /var/lib/flowd/journal ] && [ ! -e /run/flowd ] || fails "what is left"
well "stop drains and ends with 0; the state stays, the sockets go"
echo all is well
