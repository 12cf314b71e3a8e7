package lint

import (
	"fmt"
	"go/ast"
	"strings"
)

// The counters, each of a folder or of a page.
const (
	Files         = "files"          // files of any kind in a folder
	LongFiles     = "long-files"     // Go files over maxLines lines
	LongFunctions = "long-functions" // functions over maxBody lines
	Clauses       = "clauses"        // in comments and pages: see Openings
	LongSentences = "long-sentences" // in comments of exported names, and in pages: over maxWords words
	BackArrows    = "arrows-back"    // between the files of a package, against the order that Order finds
	Circle        = "circle"         // files of the largest circle of a package
)

const (
	maxLines = 450 // of a file
	maxBody  = 70  // lines of a function, from func to the closing brace
)

// A Count is one counter of one place: a folder, or a page. The lines of What name each thing that was counted.
type Count struct {
	Counter, Place string
	N              int
	What           []string
}

// counts gathers the Counts of a tree.
type counts map[[2]string]*Count

func (c counts) add(counter, place string, n int, format string, args ...any) {
	key := [2]string{counter, place}
	if c[key] == nil {
		c[key] = &Count{Counter: counter, Place: place}
	}
	c[key].N += n
	if n > 0 && format != "" {
		c[key].What = append(c[key].What, fmt.Sprintf(format, args...))
	}
}

// Counts counts all but what needs types: see [Package.Counts]. Nothing is named that is zero.
func (t *Tree) Counts() []Count {
	c := counts{}
	for _, name := range t.names {
		c.add(Files, folder(name), 1, "")
	}
	for _, f := range t.files {
		t.countSizes(c, f)
		countLanguage(c, f)
	}
	for _, p := range t.pages {
		for _, sentence := range Sentences(p.text) {
			c.add(Clauses, p.path, Openings(sentence), "%.100s", sentence)
			if n := Words(sentence); n > maxWords {
				c.add(LongSentences, p.path, 1, "%d words: %.100s", n, sentence)
			}
		}
	}
	return c.list()
}

// Counts counts the arrows back and the largest circle of the package in that folder.
func (p *Package) Counts(folder string) []Count {
	c := counts{}
	files, arrows := p.Files(), p.Arrows()
	back, _ := Back(arrows, Order(files, arrows)) // the order has all files
	for _, a := range back {
		c.add(BackArrows, folder, 1, "%s", a)
	}
	largest := []string{}
	for _, circle := range Circles(files, arrows) {
		if len(circle) > len(largest) {
			largest = circle
		}
	}
	c.add(Circle, folder, len(largest), "%s", strings.Join(largest, " "))
	return c.list()
}

func (c counts) list() (all []Count) {
	for _, count := range c {
		if count.N > 0 {
			all = append(all, *count)
		}
	}
	sortCounts(all)
	return all
}

func (t *Tree) countSizes(c counts, f goFile) {
	if f.lines > maxLines {
		c.add(LongFiles, f.folder(), 1, "%s: %d lines", f.path, f.lines)
	}
	for _, decl := range f.ast.Decls {
		if function, ok := decl.(*ast.FuncDecl); ok {
			from, to := t.fset.Position(function.Pos()), t.fset.Position(function.End())
			if n := to.Line - from.Line + 1; n > maxBody {
				c.add(LongFunctions, f.folder(), 1, "%s:%d: %s has %d lines", f.path, from.Line, function.Name.Name, n)
			}
		}
	}
}

func countLanguage(c counts, f goFile) {
	all, exported := f.comments()
	for _, comment := range all {
		for _, sentence := range Sentences(comment) {
			c.add(Clauses, f.folder(), Openings(sentence), "%s: %.100s", f.path, sentence)
		}
	}
	for _, comment := range exported {
		for _, sentence := range Sentences(comment) {
			if n := Words(sentence); n > maxWords {
				c.add(LongSentences, f.folder(), 1, "%s: %d words: %.100s", f.path, n, sentence)
			}
		}
	}
}
