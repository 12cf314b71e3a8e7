// Package fileproxy makes a module proxy of a source tree, in a directory: GOPROXY=file://DIRECTORY. With it a test builds a module
// outside of the repository that requires the modules inside by version, as a user does, without any replace.
//
// The layout is that of the Go module proxy protocol: below MODULE/@v/ lie list, VERSION.info, VERSION.mod and VERSION.zip.
package fileproxy

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// A Module is one module of a tree.
type Module struct {
	Path    string // as its go.mod says
	Folder  string // where it lies in the tree, with slashes; "." is the root
	Version string // under which the proxy has it
	Deps    []Dependency
}

// A Dependency is what a go.mod requires.
type Dependency struct{ Path, Version string }

// Modules finds the modules of a tree, the root first, then by folder. All that require one of them have to require the same
// version of it, as they are released together.
func Modules(root string) (modules []Module, err error) {
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && left(d.Name()):
			return fs.SkipDir
		case d.IsDir() || d.Name() != "go.mod":
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		m := Module{Folder: filepath.ToSlash(folder)}
		if m.Path, m.Deps, err = readMod(name); err != nil {
			return err
		}
		modules = append(modules, m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(modules, func(a, b Module) int { return strings.Compare(a.Folder, b.Folder) }) // "." is before all letters
	if len(modules) == 0 || modules[0].Folder != "." {
		return nil, fmt.Errorf("%s has no go.mod", root)
	}
	for _, m := range modules {
		if err := agree(modules, m.Path); err != nil {
			return nil, err
		}
	}
	return modules, nil
}

// left reports whether a folder is no part of any module: hidden ones, packages that others vendored, and a developer's own.
func left(name string) bool {
	return strings.HasPrefix(name, ".") || slices.Contains([]string{"vendor", "testdata", "tmp", "scratch"}, name)
}

// readMod has the go command read a go.mod.
func readMod(file string) (name string, deps []Dependency, err error) {
	cmd := exec.Command("go", "mod", "edit", "-json", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w: %s", file, err, bytes.TrimSpace(stderr.Bytes()))
	}
	var mod struct {
		Module  struct{ Path string }
		Require []Dependency
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return "", nil, fmt.Errorf("read %s: %w", file, err)
	}
	return mod.Module.Path, mod.Require, nil
}

// agree returns an error if the modules require different versions of a module.
func agree(modules []Module, name string) error {
	version, by := "", ""
	for _, m := range modules {
		for _, d := range m.Deps {
			switch {
			case d.Path != name:
			case version == "":
				version, by = d.Version, m.Path
			case version != d.Version:
				return fmt.Errorf("%s requires %s %s, and %s requires %s: all have to require the same version",
					by, name, version, m.Path, d.Version)
			}
		}
	}
	return nil
}

// Write makes the proxy of all modules of the tree below root in the directory dir. All have one version, which their contents
// determine, so that a module cache never mistakes one tree for another. The modules require that version of each other, as they
// do when they are released.
func Write(root, dir string) ([]Module, error) {
	modules, err := Modules(root)
	if err != nil {
		return nil, err
	}
	contents := sha256.New()
	for _, m := range modules {
		if err := m.zip(root, nil, contents); err != nil {
			return nil, fmt.Errorf("module %s: %w", m.Path, err)
		}
	}
	for i := range modules {
		modules[i].Version = fmt.Sprintf("v0.999.0-tree.%x", contents.Sum(nil)[:8])
	}
	for _, m := range modules {
		if err := m.write(root, dir, modules); err != nil {
			return nil, fmt.Errorf("module %s: %w", m.Path, err)
		}
	}
	return modules, nil
}

func (m Module) write(root, dir string, all []Module) error {
	home := filepath.Join(dir, filepath.FromSlash(escape(m.Path)), "@v")
	if err := os.MkdirAll(home, 0o777); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.Folder), "go.mod"))
	if err != nil {
		return err
	}
	file := filepath.Join(home, m.Version+".mod")
	if err := os.WriteFile(file, mod, 0o666); err != nil {
		return err
	}
	if mod, err = m.require(file, all); err != nil {
		return err
	}
	info, err := json.Marshal(map[string]string{"Version": m.Version})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := m.zip(root, mod, &archive); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"list":              []byte(m.Version + "\n"),
		m.Version + ".info": info,
		m.Version + ".zip":  archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(home, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// require has a copy of the module's go.mod require the modules of the tree in their versions, and returns its text.
func (m Module) require(file string, all []Module) ([]byte, error) {
	args := []string{"mod", "edit"}
	for _, d := range m.Deps {
		for _, other := range all {
			if d.Path == other.Path {
				args = append(args, "-require="+other.Path+"@"+other.Version)
			}
		}
	}
	if len(args) > 2 {
		if out, err := exec.Command("go", append(args, file)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("edit go.mod: %w: %s", err, bytes.TrimSpace(out))
		}
	}
	return os.ReadFile(file)
}

// zip writes the files of the module, each below MODULE@VERSION/. Those of modules below it are left out. A module without a license has that of the
// root, as one that the go command fetches from a repository.
// If mod is not nil, it takes the place of its go.mod.
func (m Module) zip(root string, mod []byte, w io.Writer) error {
	archive := zip.NewWriter(w)
	prefix := m.Path + "@" + m.Version + "/"
	folder := filepath.Join(root, filepath.FromSlash(m.Folder))
	licensed := false
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != folder && foreign(name, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || d.Name() == ".git" {
			return nil
		}
		licensed = licensed || relative == "LICENSE"
		if relative == "go.mod" && mod != nil {
			return put(archive, prefix+relative, mod)
		}
		return add(archive, prefix+filepath.ToSlash(relative), name)
	})
	if err != nil {
		return err
	}
	if license := filepath.Join(root, "LICENSE"); !licensed {
		if err := add(archive, prefix+"LICENSE", license); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return archive.Close()
}

// foreign reports whether a folder inside a module is no part of it. A tag has what is committed, testdata and hidden folders with it.
func foreign(name, base string) bool {
	if base == ".git" || base == "vendor" || base == "tmp" || base == "scratch" {
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil
}

func add(archive *zip.Writer, name, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return put(archive, name, content)
}

func put(archive *zip.Writer, name string, content []byte) error {
	w, err := archive.Create(path.Clean(name))
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// escape writes an upper-case letter as "!" and the lower-case one, as the protocol has it.
func escape(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
