package lint

import (
	"fmt"
	"go/ast"
	"strings"
)

// The counters. Each has a folder or a page as its place, but for FileLines and FunctionLines.
const (
	Files         = "files"          // files of any kind in a folder
	FileLines     = "file-lines"     // of a Go file
	FunctionLines = "function-lines" // of a function in a Go file, from func to the closing brace: "a/b.go:F", or "a/b.go:T.M"
	Clauses       = "clauses"        // in comments and pages: see Openings
	Undocumented  = "undocumented"   // exported names without a comment
	LongSentences = "long-sentences" // in comments of exported names, and in pages: over maxWords words
	BackArrows    = "arrows-back"    // between the files of a package, against the order that Order finds
	Circle        = "circle"         // files of the largest circle of a package
)

// limited are the counters of which every place has one limit, that of [AnyPlace]. Other lines of ceilings.txt are its exceptions.
var limited = []string{Files, FileLines, FunctionLines}

// A Count is one counter of one place. The lines of What name each thing that was counted.
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
		t.countUndocumented(c, f)
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
	c.add(FileLines, f.path, f.lines, "")
	for _, decl := range f.ast.Decls {
		if function, ok := decl.(*ast.FuncDecl); ok {
			from, to := t.fset.Position(function.Pos()), t.fset.Position(function.End())
			name := function.Name.Name // all init of a file count together
			if function.Recv != nil {
				name = receiver(function) + "." + name
			}
			c.add(FunctionLines, f.path+":"+name, to.Line-from.Line+1, "%s:%d", f.path, from.Line)
		}
	}
}

func (t *Tree) countUndocumented(c counts, f goFile) {
	for _, name := range f.undocumented() {
		at := t.fset.Position(name.Pos())
		c.add(Undocumented, f.folder(), 1, "%s:%d: %s", f.path, at.Line, name.Name)
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
