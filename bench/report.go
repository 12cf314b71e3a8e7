package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A report is what one invocation measured. It is kept as JSON, from which tables and drawings can be made again.
type report struct {
	Name    string // compare, sweep, gap or change: which part of performance.md it is
	Machine string
	Rounds  int
	Seconds float64 // of each run
	Runs    []run
	Failed  []string `json:",omitempty"` // jobs, and why
}

// A figure is a drawing that the tables refer to.
type figure struct{ file, title, svg string }

// machine says what the figures are of, in one line. It names no host and no path.
func machine(dir string) string {
	facts := append([]string{fmt.Sprintf("%d cores", runtime.GOMAXPROCS(0))}, machineFacts(dir)...)
	return strings.Join(append(facts, runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH), ", ")
}

func readReport(file string) (rep report, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return rep, err
	}
	if err := json.Unmarshal(b, &rep); err != nil {
		return rep, fmt.Errorf("%s: %w", file, err)
	}
	if _, ok := sections[rep.Name]; !ok {
		return rep, fmt.Errorf("%s: %q is no report", file, rep.Name)
	}
	return rep, nil
}

// sections make the parts of performance.md, by Name: the tables, and their drawings.
var sections = map[string]func(rows []row) (tables string, figures []figure){
	"compare": compareSection,
	"sweep":   sweepSection,
	"gap":     gapSection,
	"change":  changeSection,
}

// text is the part of performance.md, without the drawings.
func (r report) text() string {
	tables, _ := sections[r.Name](rowsOf(r.Runs))
	return r.preface() + tables
}

func (r report) preface() string {
	s := fmt.Sprintf("%s. Median of %d rounds, %s s each.\n", r.Machine, r.Rounds, shortText(r.Seconds))
	if r.Rounds == 1 {
		s = fmt.Sprintf("%s. One round, %s s each.\n", r.Machine, shortText(r.Seconds))
	}
	for _, run := range r.Runs {
		if run.Result.OtherCPU > busyCores {
			s += fmt.Sprintf("\n\\* In one of its rounds at least, others used more than %.1f cores.\n", busyCores)
			break
		}
	}
	for _, f := range r.Failed {
		s += "\nFailed: " + f + "\n"
	}
	return s + "\n"
}

// write puts the report into performance.md of dir, between its markers, and the drawings and the JSON beside it.
func (r report) write(dir string) error {
	tables, figures := sections[r.Name](rowsOf(r.Runs))
	beside := filepath.Join(dir, "performance")
	if err := os.MkdirAll(beside, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(beside, r.Name+".json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	text := r.preface()
	for _, f := range figures {
		if err := os.WriteFile(filepath.Join(beside, f.file), []byte(f.svg), 0o644); err != nil {
			return err
		}
		text += fmt.Sprintf("![%s](performance/%s)\n\n", f.title, f.file)
	}
	page := filepath.Join(dir, "performance.md")
	old, err := os.ReadFile(page)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(page, []byte(replaceSection(string(old), r.Name, text+tables)), 0o644)
}

// replaceSection puts text between the markers of a section, which it appends to a page that has none.
func replaceSection(page, name, text string) string {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		before, after = page, ""
		if page != "" {
			before += "\n"
		}
	}
	return before + begin + text + end + after
}
