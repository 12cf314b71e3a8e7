package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// installed is where the page has the program on a machine.
const installed = "/usr/local/bin/paxos-cluster"

// settings reads a unit or a drop-in.
func settings(t *testing.T, file ...string) map[string][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(append([]string{"..", "systemd"}, file...)...))
	require.NoError(t, err)
	defer f.Close()
	options, err := unit.Deserialize(f)
	require.NoError(t, err)
	all := map[string][]string{}
	for _, o := range options {
		all[o.Section+"."+o.Name] = append(all[o.Section+"."+o.Name], o.Value)
	}
	return all
}

// only returns the value of a setting that is given once.
func only(t *testing.T, all map[string][]string, key string) string {
	t.Helper()
	require.Len(t, all[key], 1, "%s", key)
	return all[key][0]
}

// environment reads the file with the settings of the unit.
func environment(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "systemd", "paxos.env"))
	require.NoError(t, err)
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			name, value, found := strings.Cut(line, "=")
			require.True(t, found, "%s", line)
			all[name] = value
		}
	}
	return all
}

// expanded returns the words of a command of the unit: ${NAME} is one word, $NAME is none, one or several.
func expanded(t *testing.T, line string, env map[string]string) (all []string) {
	t.Helper()
	for _, word := range strings.Fields(line) {
		name, found := strings.CutPrefix(word, "$")
		whole := strings.HasPrefix(name, "{")
		name = strings.Trim(name, "{}")
		value, known := env[name]
		switch {
		case !found:
			all = append(all, word)
		case !known:
			require.Fail(t, "paxos.env does not set it", word)
		case whole:
			all = append(all, value)
		default:
			all = append(all, strings.Fields(value)...)
		}
	}
	return all
}

// hardened is what the unit has to say, beside its commands. A unit has no key that is not here.
var hardened = map[string]string{
	"Service.Type": "exec", "Service.User": "paxos", "Service.Group": "paxos", "Service.EnvironmentFile": "/etc/paxos/paxos.env",
	"Service.Restart": "on-failure", "Service.RestartSec": "5", "Service.RestartPreventExitStatus": "2", "Service.KillSignal": "SIGTERM",
	"Service.LimitNOFILE": "65536", "Service.StateDirectory": "paxos", "Service.StateDirectoryMode": "0700", "Service.UMask": "0077",
	"Service.ProtectSystem": "strict", "Service.ProtectHome": "yes", "Service.PrivateTmp": "yes", "Service.PrivateDevices": "yes",
	"Service.PrivateUsers": "yes", "Service.ProtectClock": "yes", "Service.ProtectHostname": "yes", "Service.ProtectControlGroups": "yes",
	"Service.ProtectKernelLogs": "yes", "Service.ProtectKernelModules": "yes", "Service.ProtectKernelTunables": "yes",
	"Service.ProtectProc": "invisible", "Service.ProcSubset": "pid", "Service.NoNewPrivileges": "yes", "Service.CapabilityBoundingSet": "",
	"Service.AmbientCapabilities": "", "Service.RestrictAddressFamilies": "AF_INET AF_INET6", "Service.RestrictNamespaces": "yes",
	"Service.RestrictRealtime": "yes", "Service.RestrictSUIDSGID": "yes", "Service.RemoveIPC": "yes", "Service.LockPersonality": "yes",
	"Service.MemoryDenyWriteExecute": "yes", "Service.SystemCallArchitectures": "native", "Service.SystemCallErrorNumber": "EPERM",
	"Service.ExecReload": "/bin/kill -HUP $MAINPID", "Install.WantedBy": "multi-user.target", "Unit.Wants": "network-online.target",
	"Unit.After": "network-online.target", "Unit.RequiresMountsFor": "/var/lib/paxos", "Unit.StartLimitIntervalSec": "300",
	"Unit.StartLimitBurst": "10", "Unit.Description": "Paxos server",
	"Unit.Documentation": "https://github.com/singledecree/paxos/blob/main/docs/operations.md",
}

// TestSystemdUnit: the unit has these settings and no others, and nothing runs before serve.
func TestSystemdUnit(t *testing.T) {
	all := settings(t, "paxos.service")
	for key, want := range hardened {
		assert.Equal(t, want, only(t, all, key), "%s", key)
		delete(all, key)
	}
	assert.Equal(t, []string{"@system-service", "~@privileged @resources"}, all["Service.SystemCallFilter"])
	delete(all, "Service.SystemCallFilter")
	patient, err := time.ParseDuration(only(t, all, "Service.TimeoutStopSec") + "s")
	require.NoError(t, err)
	assert.Greater(t, patient, time.Duration(stopGrace(t))*time.Second)
	delete(all, "Service.TimeoutStopSec")
	serve := expanded(t, only(t, all, "Service.ExecStart"), environment(t))
	assert.Equal(t, []string{installed, "serve"}, serve[:2])
	delete(all, "Service.ExecStart")
	assert.Empty(t, all, "settings that no test knows, or a command before or after serve")

	assert.Equal(t, map[string][]string{"Service.MemoryHigh": {"1536M"}, "Service.MemoryMax": {"2G"}},
		settings(t, "paxos.service.d", "limits.conf"))
	assert.Len(t, environment(t), 2)
}

// TestSystemdVerifies has systemd itself look at the unit, on a machine that has it.
func TestSystemdVerifies(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not on this machine; TestSystemdUnit holds each key")
	}
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("..", "systemd", "paxos.service"))
	require.NoError(t, err)
	// The program is not installed here.
	there := strings.ReplaceAll(string(text), installed, program(t))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "paxos.service"), []byte(there), 0o600))
	require.NoError(t, os.CopyFS(filepath.Join(dir, "paxos.service.d"), os.DirFS(filepath.Join("..", "systemd", "paxos.service.d"))))
	verify := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, "paxos.service"))
	verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	out, err := verify.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for line := range strings.Lines(string(out)) {
		assert.NotContains(t, line, dir, "it has something to say of the unit")
	}
}

// TestSystemdRuns goes through the life of three machines, each with the unit and with the configuration of the README.
func TestSystemdRuns(t *testing.T) {
	env := environment(t)
	serve := expanded(t, only(t, settings(t, "paxos.service"), "Service.ExecStart"), env)[1:]
	commands := execLines(t, sectionOf(t, "systemd"))
	require.Len(t, commands, 2, "create and probe")
	create, readyz := commands[0], commands[1]
	assert.Equal(t, "create", create[0])
	assert.Equal(t, env["PAXOS_CONFIG"], create[len(create)-1])
	l := life{readyz: readyz, livez: []string{"probe", "livez"}, call: []string{"call", "propose lunch burger; status"},
		dir: "/var/lib/" + hardened["Service.StateDirectory"] + "/data"}
	certs := certificates(t, "1", "2", "3")
	for i, host := range []string{"one.example", "two.example", "three.example"} {
		l.places = append(l.places, newPlace(t, i+1, host))
		l.serve, l.create = append(l.serve, serve), append(l.create, create)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	_, config, found := strings.Cut(string(page), "\n```json\n")
	require.True(t, found)
	config, _, _ = strings.Cut(config, "```")
	for i, p := range l.places {
		p.configure(env["PAXOS_CONFIG"], machine(t, config, i), l.places)
		for _, name := range []string{"ca.crt", "1.crt", "1.key"} {
			p.copyFile(filepath.Join(certs, strings.Replace(name, "1", string(rune('1'+i)), 1)), "/etc/paxos/"+name)
		}
	}
	l.runs(t)
}

// machine is the configuration of the README, with the storage where the page has it, as the server of another machine has it.
func machine(t *testing.T, config string, i int) []byte {
	t.Helper()
	for name, path := range map[string]string{`"ca.crt"`: `"/etc/paxos/ca.crt"`, `"1.crt"`: `"/etc/paxos/1.crt"`, `"1.key"`: `"/etc/paxos/1.key"`,
		`"data"`: `"/var/lib/paxos/data"`} {
		require.Equal(t, 1, strings.Count(config, name), "%s", name)
		config = strings.Replace(config, name, path, 1)
	}
	if i > 0 {
		peer := map[int]string{1: `"2": "two.example:7000"`, 2: `"3": "three.example:7000"`}[i]
		require.Contains(t, config, peer)
		config = strings.Replace(config, peer, `"1": "one.example:7000"`, 1)
		config = strings.Replace(config, `"id": 1`, map[int]string{1: `"id": 2`, 2: `"id": 3`}[i], 1)
	}
	return []byte(config)
}
