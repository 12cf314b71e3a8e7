// Package lint holds the layers and the style of this repository. It serves tests only, and needs nothing but the standard
// library and the go command.
//
// [Arrows] lists which file of a package uses which, and [Back] those uses that run against a given order. [Tree.Links]
// lists links and citations that lead nowhere. [Tree.Counts] counts what may become less but not more: lines of files
// and functions, long sentences, clauses that open with "who" or "what". The file ceilings.txt has the bound of each count.
package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Tree is all that is checked of a repository: its Go files, nested modules included, its pages, and its scripts.
type Tree struct {
	root  string
	fset  *token.FileSet
	files []goFile // by path
	pages []page   // by path
	other []page   // scripts, and text files below testdata: looked at for citations only
	names []string // of all files, by path
}

// A goFile is one parsed file. Its path is relative to the root and has slashes.
type goFile struct {
	path  string
	ast   *ast.File
	lines int
}

// A page is a Markdown file, or another text.
type page struct {
	path string
	text string
}

func (f goFile) isTest() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f goFile) folder() string { return path.Dir(f.path) }

// skipped reports whether nobody looks for style in a folder: it is hidden, or a developer keeps it out of the repository.
func skipped(name string) bool {
	return strings.HasPrefix(name, ".") && name != "." && name != ".ci" && name != ".github" ||
		slices.Contains([]string{"scratch", "tmp", "vendor"}, name)
}

// Read reads the tree below root.
func Read(root string) (*Tree, error) {
	t := &Tree{root: root, fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if d.IsDir() {
			if relative != "." && skipped(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		return t.add(name, relative)
	})
	return t, err
}

// add reads the file name, if it is of a kind that is checked.
func (t *Tree) add(name, relative string) error {
	if path.Dir(relative) != "." || !strings.HasPrefix(relative, ".") { // a worktree has a file .git
		t.names = append(t.names, relative)
	}
	sample := slices.Contains(strings.Split(relative, "/"), "testdata")
	switch ext := path.Ext(relative); {
	case ext == ".md" && !sample, ext == ".txt" && sample, ext == ".sh", ext == ".yml", path.Dir(relative) == ".ci":
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p := page{relative, string(text)}
		if ext == ".md" {
			t.pages = append(t.pages, p)
		} else {
			t.other = append(t.other, p)
		}
	case ext == ".go" && !sample:
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(t.fset, relative, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.files = append(t.files, goFile{relative, file, strings.Count(string(src), "\n")})
	}
	return nil
}
