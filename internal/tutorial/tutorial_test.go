package tutorial

import (
	"bufio"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var withMetrics = flag.Bool("metrics", false, "do the part about metrics, too: it compiles the client of Prometheus")

// A step is a fenced block of the tutorial: a file to write or to change, or commands with their answers.
type step struct {
	kind string // "diff": the text changes the file; empty: commands
	file string
	text string
}

// steps returns the steps of a page. Those of its part about metrics come with withMetrics only.
func steps(t *testing.T, text string) (all []step) {
	t.Helper()
	for _, part := range strings.Split(text, "\n## ") {
		if strings.Contains(part, ". Metrics\n") && !*withMetrics {
			continue
		}
		for _, b := range regexp.MustCompile("(?s)(?:^|\n)```(\\w*) ?([\\w.]*)\n(.*?)```").FindAllStringSubmatch(part, -1) {
			require.Equal(t, b[1] == "", b[2] == "", "a listing has a name: %s", b[3])
			all = append(all, step{b[1], b[2], b[3]})
		}
	}
	return all
}

// changed returns a text with one change, of which the lines begin as those of a diff.
func changed(t *testing.T, text, diff string) string {
	t.Helper()
	was, is := "", ""
	for line := range strings.Lines(diff) {
		if line[0] != '+' {
			was += line[1:]
		}
		if line[0] != '-' {
			is += line[1:]
		}
	}
	require.Equal(t, 1, strings.Count(text, was), "%s is there once", was)
	return strings.Replace(text, was, is, 1)
}

// A command is a line that begins with "$ ". Its answer is in the lines below it.
type command struct{ line, answer string }

func commands(text string) (all []command) {
	for _, part := range strings.Split("\n"+text, "\n$ ")[1:] {
		line, answer, _ := strings.Cut(part, "\n")
		all = append(all, command{line, answer})
	}
	return all
}

// matches reports whether an answer is the one of the page, in which "…" stands for any text.
func matches(want, got string) bool {
	if want == "" {
		return got == ""
	}
	var parts []string
	for _, part := range strings.Split(strings.TrimSpace(want), "…") {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(strings.TrimSpace(got))
}

// TestTutorial does docs/tutorial.md word by word, in one shell. The clone is this tree, and ports are others.
func TestTutorial(t *testing.T) {
	r := newReader(t)
	for _, program := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("a reader needs %s: %v", program, err)
		}
	}
	text := page(t, "docs/tutorial.md")
	for port := 7001; port <= 7004; port++ {
		for _, p := range []int{port, port + 1000} {
			address := "127.0.0.1:" + strconv.Itoa(p)
			require.Contains(t, text, address)
			text = strings.ReplaceAll(text, address, freeAddress(t))
		}
	}
	all := steps(t, text)
	require.Greater(t, len(all), 15)
	require.NoError(t, os.Symlink(root(t), filepath.Join(r.dir, "paxos")))
	t.Cleanup(r.killServers)
	shell := r.shell()
	for _, s := range all {
		switch name := "lunch/" + s.file; {
		case s.kind == "diff":
			text, err := os.ReadFile(filepath.Join(r.dir, name))
			require.NoError(t, err)
			r.write(name, changed(t, string(text), s.text))
			continue
		case s.kind != "":
			r.write(name, s.text)
			continue
		}
		for _, c := range commands(s.text) {
			if strings.HasPrefix(c.line, "git clone ") {
				continue
			}
			got := shell.give(c.line)
			require.True(t, matches(c.answer, got), "$ %s\nit answers:\n%s\nand not:\n%s", c.line, got, c.answer)
		}
	}
}

// A terminal is a shell that takes one command after the other.
type terminal struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// shell starts a shell in the folder.
func (r *reader) shell() *terminal {
	r.t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir, cmd.Env = r.dir, r.env
	wrong, err := os.Create(filepath.Join(r.t.TempDir(), "stderr"))
	require.NoError(r.t, err)
	cmd.Stderr = wrong
	in, err := cmd.StdinPipe()
	require.NoError(r.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, cmd.Start())
	stuck := time.AfterFunc(5*aWhile, func() { cmd.Process.Kill() })
	r.t.Cleanup(func() {
		stuck.Stop()
		in.Close()
		out.Close()
		cmd.Process.Kill()
		cmd.Wait()
		if text, _ := os.ReadFile(wrong.Name()); r.t.Failed() {
			r.t.Logf("standard error of all commands:\n%s", text)
		}
		wrong.Close()
	})
	return &terminal{t: r.t, in: in, out: bufio.NewReader(out)}
}

// give gives a command to the shell, and returns its standard output. It must succeed.
func (s *terminal) give(line string) string {
	s.t.Helper()
	const mark = "the command has ended, with status "
	_, err := io.WriteString(s.in, line+"\necho \""+mark+"$?\"\n")
	require.NoError(s.t, err)
	var answer strings.Builder
	for {
		text, err := s.out.ReadString('\n')
		before, status, ended := strings.Cut(text, mark)
		answer.WriteString(before)
		require.NoError(s.t, err, "$ %s\n%s", line, &answer)
		if ended {
			require.Equal(s.t, "0\n", status, "$ %s\n%s", line, &answer)
			return answer.String()
		}
	}
}

// killServers ends the servers of which the process IDs are in files, if they run.
func (r *reader) killServers() {
	files, err := filepath.Glob(filepath.Join(r.dir, "lunch", "server*.pid"))
	assert.NoError(r.t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		assert.NoError(r.t, err)
		id, err := strconv.Atoi(strings.TrimSpace(string(text)))
		assert.NoError(r.t, err)
		if p, err := os.FindProcess(id); err == nil {
			p.Kill()
		}
	}
}

func TestMatches(t *testing.T) {
	assert.True(t, matches("", ""))
	assert.True(t, matches("…\n", "any\ntext\n"))
	assert.True(t, matches(`{"a":"…","b":1}`, `{"a":"x y","b":1}`+"\n"))
	assert.True(t, matches(`{…"settled":true…`, `{"id":1,"settled":true,"x":[]}`))
	assert.False(t, matches("", "an error"))
	assert.False(t, matches("ok", "not ok"))
	assert.False(t, matches(`{"a":"…","b":1}`, `{"a":"x y","b":2}`))
	assert.Equal(t, []command{{"one", "answer"}, {"two", ""}}, commands("$ one\nanswer\n$ two\n"))
}
