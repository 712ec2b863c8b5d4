package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers is the picture in docs/architecture.md. A room imports rooms of lower
// layers only.
var layers = map[string]int{
	"vrrp": 0, "pool": 0, "program": 0, "filewatch": 0,
	"wire": 1, "network": 1, "ipvs": 1, "check": 1, "sourcenat": 1, "maintenance": 1, "notify": 1, "discovery": 1,
	"speaker": 2, "balancer": 2, "track": 2, "ipvsadm": 2,
	"config": 3, "api": 3, "metrics": 3, "link": 3, "realserver": 3,
	"pulse": 4, "director": 4,
}

// pure rooms touch nothing outside: the packages in impure are not for them.
var pure = map[string]bool{"vrrp": true, "pool": true}

var impure = []string{"net", "net/http", "os", "os/exec", "syscall", "golang.org/x/sys/unix", "context", "sync", "log/slog"}

func TestRoomsImportDownwardsOnly(t *testing.T) {
	for room, layer := range layers {
		for path, file := range sources(t, room) {
			for _, imported := range imports(t, file) {
				other, ours := strings.CutPrefix(imported, "baton/internal/")
				if ours && other != room && !allowed(layer, other) {
					t.Errorf("%s: %s (layer %d) must not import %s (layer %d)", path, room, layer, other, layers[other])
				}
				if strings.HasPrefix(imported, "baton/cmd") || strings.HasPrefix(imported, "baton/test") {
					t.Errorf("%s: a room must not import %s", path, imported)
				}
				if pure[room] && slices.Contains(impure, imported) {
					t.Errorf("%s: %s is pure and must not import %s", path, room, imported)
				}
			}
		}
	}
}

func allowed(layer int, other string) bool {
	below, known := layers[other]
	return known && below < layer
}

// Pure rooms are told the time; they never ask.
func TestPureRoomsNeverAskTheTime(t *testing.T) {
	for room := range pure {
		for path, file := range sources(t, room) {
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				pkg, ok := sel.X.(*ast.Ident)
				if ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "NewTimer", "Sleep"}, sel.Sel.Name) {
					t.Errorf("%s: %s calls time.%s", path, room, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// A room that is not in the picture is not in the house.
func TestEveryRoomIsInThePicture(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, known := layers[e.Name()]; e.IsDir() && !known {
			t.Errorf("internal/%s is not in the picture of the rooms", e.Name())
		}
	}
}

func TestEveryRoomSaysWhatItIsFor(t *testing.T) {
	for room := range layers {
		documented := false
		for _, file := range sources(t, room) {
			documented = documented || file.Doc != nil
		}
		if !documented {
			t.Errorf("internal/%s has no package comment", room)
		}
	}
}

// sources parses the files of a room, without its tests.
func sources(t *testing.T, room string) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(room, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no sources in internal/%s: %v", room, err)
	}
	out := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		out[path] = file
	}
	return out
}

func imports(t *testing.T, file *ast.File) []string {
	t.Helper()
	var out []string
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}
