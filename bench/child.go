package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// childCommand, as the only argument, makes this program do the one job that it reads from stdin.
const childCommand = "one-run-of-bench"

// isChild reports whether this process is to do one job.
func isChild() bool { return len(os.Args) == 2 && os.Args[1] == childCommand }

// child does one job and returns the exit code. The result is the last line of its output, since peers print what they like.
func child(in io.Reader, out, errOut io.Writer) int {
	var j job
	err := json.NewDecoder(in).Decode(&j)
	var r result
	if err == nil {
		r, err = j.do()
	}
	if err == nil {
		err = json.NewEncoder(out).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	return 0
}

// do does the job in this process, and leaves all running: with its end the process stops it faster than it could itself.
func (j job) do() (result, error) {
	who, err := contestantNamed(j.Contestant)
	if err != nil {
		return result{}, err
	}
	c, err := who.start(setup{j.Work, j.Dir})
	if err != nil {
		return result{}, err
	}
	if j.Work.Gap {
		return gap(c, j), nil
	}
	if j.Work.Change != "" {
		return change(c, j)
	}
	r := drive(c, j)
	if known := c.counts().perDecided; known > 0 {
		r.Memory = &known
	}
	return r, nil
}

// inChild does the job in a process of its own, with a directory of its own below parent.
func inChild(ctx context.Context, j job, parent string) (r result, err error) {
	if j.Dir, err = os.MkdirTemp(parent, "bench-"); err != nil {
		return r, err
	}
	defer os.RemoveAll(j.Dir)
	in, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	// Starting, preloading and closing take their time too.
	limit := 2*(j.Warm+j.Window) + 2*time.Minute + time.Duration(j.Work.Decided)*50*time.Microsecond
	if j.Work.Change != "" {
		limit += changeLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, childCommand)
	cmd.Stdin = bytes.NewReader(in)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("it took too long: %w", ctx.Err())
		}
		return r, fmt.Errorf("%w: %s", err, lastLine(errOut.String()))
	}
	if err := json.Unmarshal([]byte(lastLine(out.String())), &r); err != nil {
		return r, fmt.Errorf("no result: %w", err)
	}
	if r.Decisions == 0 {
		return r, fmt.Errorf("nothing was decided: %d errors %s", r.Errors, r.Error)
	}
	return r, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
