package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// startOne starts a cluster of one server in this process.
func startOne(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	configs, err := localConfigs(1)
	require.NoError(t, err)
	err = makeCerts(dir, localCluster, time.Hour, configs[0].Acceptors)
	require.NoError(t, err)
	require.NoError(t, createOnce(dir, configs))
	file := filepath.Join(dir, "1.json")
	require.NoError(t, configs[0].write(file))
	c, err := readConfig(file)
	require.NoError(t, err)
	s, err := startServer(context.Background(), c, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.stop()) })
	return s
}

// TestConfigErrors: an error names the field that is wrong.
func TestConfigErrors(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{"id": 1, "cluster": "lunch", "acceptors": []int{1, 2, 3}, "learners": []int{4}, "listen": ":7000",
			"peers": map[string]string{"2": "two:7000", "3": "three:7000", "4": "four:7000"},
			"ca":    "ca.crt", "cert": "1.crt", "key": "1.key", "dir": "data", "api": "127.0.0.1:8000"}
	}
	text, err := json.Marshal(good())
	require.NoError(t, err)
	_, err = parseConfig(text)
	require.NoError(t, err)
	for _, test := range []struct {
		field string
		value any // nil: it is missing
		want  string
	}{
		{"id", nil, "id: it is missing, or 0"},
		{"id", 9, "id: server 9 is neither an acceptor nor a learner"},
		{"id", "one", "id: it can't be string"},
		{"cluster", nil, "cluster: it is missing"},
		{"acceptors", nil, "acceptors: none"},
		{"learners", []int{4, 5}, "peers: server 5 has no address"},
		{"listen", nil, "listen: it is missing"},
		{"listen", "7000", "listen: address 7000: missing port"},
		{"peers", map[string]string{"2": "two:7000"}, "peers: server 3 has no address"},
		{"peers", map[string]string{"2": "two:7000", "3": "three", "4": "four:7000"}, "peers: server 3: address three: missing port"},
		{"peers", map[string]string{"1": "one:7000", "2": "two:7000", "3": "three:7000", "4": "four:7000"}, "peers: server 1 is not another"},
		{"peers", map[string]string{"0": "zero:7000", "2": "two:7000", "3": "three:7000", "4": "four:7000"}, "peers: server 0 is not another"},
		{"left", []int{5}, "left: server 5 was neither an acceptor nor a learner"},
		{"ca", nil, "ca: it is missing"},
		{"cert", nil, "cert: it is missing"},
		{"key", nil, "key: it is missing"},
		{"dir", nil, "dir: it is missing"},
		{"api", nil, "api: it is missing"},
		{"api", "127.0.0.1", "api: address 127.0.0.1: missing port"},
		{"api", ":8000", "api: :8000 is not on a loopback address"},
		{"api", "10.0.0.1:8000", "api: 10.0.0.1:8000 is not on a loopback address"},
		{"apis", "127.0.0.1:8000", `unknown field "apis"`},
	} {
		c := good()
		if c[test.field] = test.value; test.value == nil {
			delete(c, test.field)
		}
		text, err := json.Marshal(c)
		require.NoError(t, err)
		_, err = parseConfig(text)
		assert.ErrorContains(t, err, test.want)
	}
	later := good()
	later["left"], later["peers"] = []int{2, 3}, map[string]string{"4": "four:7000", "9": "nine:7000"}
	text, err = json.Marshal(later)
	require.NoError(t, err)
	c, err := parseConfig(text)
	require.NoError(t, err, "server 9 came later, and those that left need no address")
	assert.Equal(t, "nine:7000", c.Peers[9])
	for text, want := range map[string]string{"": "EOF", "{}{}": "something follows", "[]": "array", string(text) + "x": "something follows"} {
		_, err := parseConfig([]byte(text))
		assert.ErrorContains(t, err, want)
	}
	_, err = readConfig("none.json")
	assert.ErrorContains(t, err, "none.json")
}

// TestReadmeConfig: the configuration that the README shows is one.
func TestReadmeConfig(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(readme, -1)
	require.Len(t, blocks, 1)
	c, err := parseConfig(blocks[0][1])
	require.NoError(t, err)
	assert.Equal(t, []paxos.ServerID{1, 2, 3}, c.Acceptors)
}

// TestCertErrors: certificates that others would refuse are refused when they are loaded, by the name of their field.
func TestCertErrors(t *testing.T) {
	dir := t.TempDir()
	for _, cluster := range []string{"lunch", "dinner"} {
		err := makeCerts(filepath.Join(dir, cluster), cluster, time.Hour, []paxos.ServerID{1, 2})
		require.NoError(t, err)
	}
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	for _, test := range []struct{ ca, cert, key, want string }{
		{"lunch/ca.crt", "lunch/1.crt", "lunch/1.key", ""},
		{"lunch/no.crt", "lunch/1.crt", "lunch/1.key", "CA: "},
		{"lunch/1.key", "lunch/1.crt", "lunch/1.key", "CA: "},
		{"lunch/ca.crt", "lunch/no.crt", "lunch/1.key", "Cert: "},
		{"lunch/ca.crt", "lunch/1.crt", "lunch/2.key", "Cert, Key: "},
		{"lunch/ca.crt", "lunch/2.crt", "lunch/2.key", `the certificate names "paxos:lunch/2", and server 1 of cluster "lunch"`},
		{"lunch/ca.crt", "dinner/1.crt", "dinner/1.key", "Cert: "},
		{"dinner/ca.crt", "dinner/1.crt", "dinner/1.key", `and server 1 of cluster "lunch"`},
	} {
		_, err := openCerts(config{ID: 1, Cluster: "lunch", CA: at(test.ca), Cert: at(test.cert), Key: at(test.key)}, nil)
		if test.want == "" {
			require.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, test.want)
		}
	}
	require.NoError(t, replaceFile(at("lunch/ca.key"), []byte("garbage")))
	err := makeCerts(at("lunch"), "lunch", time.Hour, nil)
	assert.ErrorContains(t, err, "ca.key", "an authority is not replaced because its key can't be read")
	assert.ErrorContains(t, runCerts(t.Context(), io.Discard, []string{"-cluster", "dinner", "-dir", at("dinner"), "-days", "300", "3"}), "ca.crt expires at")
}

func TestParseCommands(t *testing.T) {
	for line, want := range map[string]string{
		"":                             "[]",
		" ; ;# nothing":                "[]",
		"read lunch":                   `[{read lunch 0 false [read lunch]}]`,
		" read  lunch ;":               `[{read  lunch 0 false [read lunch]}]`,
		"@2 read lunch; ! kill 3 # so": `[{@2 read lunch 2 false [read lunch]} {! kill 3 # so 0 true [kill 3]}]`,
		`propose "a;b" 'it"s'`:         `[{propose "a;b" 'it"s' 0 false [propose a;b it"s]}]`,
		`propose x#y ''`:               `[{propose x#y '' 0 false [propose x#y ]}]`,
		"watch off":                    `[{watch off 0 false [watch off]}]`,
		"! @3 wait a\r\n":              `[{! @3 wait a 3 true [wait a]}]`,
		`read "a`:                      `a quote " is not closed`,
		"eat":                          `there is no command "eat": help lists them`,
		"read":                         "want read NAME",
		"propose lunch rice and beans": "want propose NAME VALUE",
		"kill two":                     `kill: "two" is not the ID of a server`,
		"kill 0":                       `kill: "0" is not the ID of a server`,
		"@2 replace 1 4; add 5 a:7":    `[{@2 replace 1 4 2 false [replace 1 4]} {add 5 a:7 0 false [add 5 a:7]}]`,
		"members; remove 3":            `[{members 0 false [members]} {remove 3 0 false [remove 3]}]`,
		"add":                          "want add ID [ADDRESS]",
		"add 4 a:7 b:7":                "want add ID [ADDRESS]",
		"add 4 a":                      "add: address a: missing port in address",
		"replace 2":                    "want replace ID NEW [ADDRESS]",
		"replace 2 x":                  `replace: "x" is not the ID of a server`,
		"remove 0":                     `remove: "0" is not the ID of a server`,
		"@2 kill 1":                    "@ names the server that a call goes to, and this is no call",
		"@x read a":                    `"@x": want @ and the ID of a server`,
		"@2":                           `"@2": the command is missing`,
		"watch on":                     "want watch",
	} {
		commands, err := parseCommands(line)
		got := fmt.Sprint(commands)
		if err != nil {
			got = err.Error()
		}
		assert.Equal(t, want, got, "%q", line)
	}
}
