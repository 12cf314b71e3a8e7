package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// sectionOf returns the indented lines of a section of docs/operations.md.
func sectionOf(t *testing.T, heading string) (lines []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "# "+heading+"\n")
	require.True(t, found, "%s", heading)
	rest, _, _ = strings.Cut(rest, "\n#")
	for line := range strings.Lines(rest) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, strings.TrimSuffix(text, "\n"))
		}
	}
	require.NotEmpty(t, lines, "%s", heading)
	return lines
}

// argsOf returns the arguments of a line that runs this program.
func argsOf(t *testing.T, line string) []string {
	t.Helper()
	words, _, err := splitWords(line)
	require.NoError(t, err)
	require.Greater(t, len(words), 3, "%s", line)
	require.Equal(t, []string{"go", "run", "./examples/cluster"}, words[:3], "no other program is run there: %s", line)
	return words[3:]
}

// TestOperationsPage runs the commands of docs/operations.md about members and forgetting, as they stand there. Each section has to print these
// texts in this order.
func TestOperationsPage(t *testing.T) {
	type section struct {
		heading string
		want    []string
	}
	for name, sections := range map[string][]section{
		"members": {
			{"Replace a lost disk", []string{"up: 1 2 3\n", "server 2 does not start", "its storage is lost", "up: 1 3  down: 2\n", "> replace 2 4\n", "server 4 is made", "server 4 is a learner",
				"server 4 is an acceptor; acceptors 1 3 4,", "is settled\n", "server 2 has left for good\n", "> members\n", "configuration 2 is settled\n", "    acceptor 4  at 127.0.0.1:", "    left: 2\n",
				`lunch = "burger"`}},
			{"Grow from 3 to 5", []string{"up: 1 3 4\n", "server 5 is an acceptor; acceptors 1 3 4 5,", "server 6 is an acceptor; acceptors 1 3 4 5 6,", "configuration 6 is settled", "> members\n", "    acceptor 6",
				"server 6  up  boot 1", "  configuration 6\n"}},
			{"Shrink", []string{"up: 1 3 4 5 6\n", "server 5 leaves; acceptors 1 3 4 6,", "is settled", "server 5 has left for good", "server 6 leaves; acceptors 1 3 4,", "is settled", "up: 1 3 4\n",
				"configuration 8 is settled", "    left: 2 5 6\n"}},
			{"Move all machines", []string{"acceptors 3 4 7,", "server 1 has left for good", "acceptors 4 7 8,", "server 3 has left for good", "acceptors 7 8 9,", "server 4 has left for good", "up: 7 8 9\n",
				"    left: 1 2 3 4 5 6\n", `lunch = "burger"`, "3 servers on", "up: 7 8 9\n", "configuration 14 is settled", "    left: 1 2 3 4 5 6\n", `lunch = "burger"`}},
		},
		"hangs": {{"When a change hangs", []string{"acceptors 1 2 3 4,", "> ! add 5\n", "it failed: server 1: ", "the change may be decided all the same: members shows it, and \"add 5\" goes on",
			"> members\n", "> add 5\n", "server 5 is an acceptor; acceptors 1 2 3 4 5,", "is settled", "> members\n", "    acceptor 5  at "}}},
		"forgetting": {{"Forgetting", []string{`a quorum has forgotten all names that begin with "job/2026-10/"`, `job/2026-11/1 = "done"`}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			for _, s := range sections {
				text := ""
				for _, line := range sectionOf(t, s.heading) {
					line = strings.ReplaceAll(line, "/tmp", temp)
					if dir, ok := strings.CutPrefix(line, "rm -r "); ok {
						require.DirExists(t, dir)
						require.NoError(t, os.RemoveAll(dir))
						continue
					}
					out, code := runs(t, "", argsOf(t, line)...)
					require.Zero(t, code, "%s\n%s", line, out)
					text += out
				}
				inOrder(t, text, s.want...)
			}
		})
	}
}

// TestOperationsPageOnSeveralMachines does what docs/operations.md says for several machines, with addresses of this machine in place of those
// on the page.
func TestOperationsPageOnSeveralMachines(t *testing.T) {
	t.Parallel()
	r := newRemote(t, 3)
	lines := sectionOf(t, "On several machines")
	begins, ends := -1, -1
	for i, line := range lines {
		switch line {
		case "{":
			begins = i
		case "}":
			ends = i
		}
	}
	require.Positive(t, begins)
	four, err := parseConfig([]byte(strings.Join(lines[begins:ends+1], "\n")))
	require.NoError(t, err)
	require.Equal(t, paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}, Learners: []paxos.ServerID{4}}, four.members())
	four.Listen, err = freeAddr(r.addrs)
	require.NoError(t, err)
	four.Peers, four.API = r.addrs, "127.0.0.1:0"
	require.NoError(t, four.write(filepath.Join(r.dir, "four.json")))
	_, err = r.client(2).propose(context.Background(), "lunch", "burger", aWhile)
	require.NoError(t, err)

	done := 0
	for _, line := range append(lines[:begins], lines[ends+1:]...) {
		if body := regexp.MustCompile(`^curl .* -d '(.*)' 127.0.0.1:8000/v1/change$`).FindStringSubmatch(line); body != nil {
			next := strings.NewReader(strings.ReplaceAll(body[1], "ten.example:7000", four.Listen))
			answered, err := http.Post("http://"+r.apis[1]+"/v1/change", "application/json", next)
			require.NoError(t, err)
			text, err := io.ReadAll(answered.Body)
			require.NoError(t, err)
			require.NoError(t, answered.Body.Close())
			http.DefaultClient.CloseIdleConnections()
			assert.Contains(t, string(text), `{"configuration":3,`)
			done++
			continue
		}
		args := argsOf(t, line)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "four.example:7000", four.Listen)
			if args[i] == "certs" && i > 0 {
				args[i] = r.dir
			}
			if args[i] == "four.json" {
				args[i] = filepath.Join(r.dir, args[i])
			}
		}
		switch args[0] {
		case "serve":
			r.serve(4, args...)
		case "call":
			inOrder(t, r.call(1, 0, args[1]), "server 4 is an acceptor; acceptors 1 3 4,", "is settled", "server 2 has left: stop it for good", "    acceptor 4  at "+four.Listen, "    left: 2\n")
			r.end(2)
		default:
			out, code := runs(t, "", args...)
			require.Zero(t, code, "%s", out)
		}
		done++
	}
	assert.Equal(t, 5, done, "certs, create, serve, call and curl")
	r.end(3)
	r.serve(3, "serve", "-config", filepath.Join(r.dir, "3.json")) // its configuration does not know server 4
	r.end(1)
	inOrder(t, r.call(4, 0, "read lunch"), `lunch = "burger"`)
}

// TestOperationsPageLearner does what docs/operations.md says of a learner. It gets all decisions, and the others do not wait for it.
func TestOperationsPageLearner(t *testing.T) {
	t.Parallel()
	r := newRemote(t, 4)
	configs, err := localConfigs(4)
	require.NoError(t, err)
	four := configs[3]
	four.Cluster, four.Acceptors, four.Learners, four.Peers = "lunch", []paxos.ServerID{1, 2, 3}, []paxos.ServerID{4}, r.addrs
	four.CA, four.Cert, four.Key = filepath.Join(r.dir, "ca.crt"), filepath.Join(r.dir, "4.crt"), filepath.Join(r.dir, "4.key")
	r.create(four)
	r.serve(4, "serve", "-config", r.file(4))
	lines := sectionOf(t, "Add a learner")
	require.Len(t, lines, 1)
	body := regexp.MustCompile(`^curl .* -d '(.*)' 127.0.0.1:8000/v1/change$`).FindStringSubmatch(lines[0])
	require.NotNil(t, body)
	answered, err := http.Post("http://"+r.apis[1]+"/v1/change", "application/json", strings.NewReader(strings.ReplaceAll(body[1], "four.example:7000", four.Listen)))
	require.NoError(t, err)
	text, err := io.ReadAll(answered.Body)
	require.NoError(t, err)
	require.NoError(t, answered.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	assert.Contains(t, string(text), `{"configuration":1,`)
	_, err = r.client(2).propose(t.Context(), "lunch", "burger", aWhile)
	require.NoError(t, err)
	inOrder(t, r.call(4, 0, "wait lunch", "-timeout", "1m"), `lunch = "burger"`)
	inOrder(t, r.call(1, 0, "members"), "configuration 1 is settled", "    learner  4  at "+four.Listen)
}
