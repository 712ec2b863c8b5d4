package config

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testEnv is the environment of the files under testdata.
func testEnv(key string) (string, bool) {
	v, ok := map[string]string{"TEXT": "fifty", "NUMBER": "300", "NAME": "lb-a", "PORT": "8080", "EMPTY": ""}[key]
	return v, ok
}

// TestInvalid loads files with one mistake each, or one kind of it, and
// compares all that is reported.
func TestInvalid(t *testing.T) {
	t.Chdir("testdata/invalid")
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			_, err := Load(file, Options{LookupEnv: testEnv, ReadSecret: testSecret})
			var list Errors
			if !errors.As(err, &list) {
				t.Fatalf("got error %v, want Errors", err)
			}
			checkErrors(t, list)
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", err.Error()+"\n")
		})
	}
}

// golden compares text with a file, or writes the file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// checkErrors holds for every report: there is something in it, each error has a
// place and a text in one line, none comes twice, and they are in order.
func checkErrors(t *testing.T, list Errors) {
	t.Helper()
	if len(list) == 0 {
		t.Error("Errors is empty")
	}
	for i, e := range list {
		if e.File == "" || e.Line < 1 || e.Column < 1 || e.Message == "" || strings.ContainsAny(e.Message, "\n\r") {
			t.Errorf("malformed: %#v", e)
		}
		if slices.Contains(list[:i], e) {
			t.Errorf("twice: %v", e)
		}
		if i > 0 && list[i-1].File == e.File && (list[i-1].Line > e.Line || list[i-1].Line == e.Line && list[i-1].Column > e.Column) {
			t.Errorf("out of order: %v after %v", e, list[i-1])
		}
	}
}

func TestErrorsAsErrors(t *testing.T) {
	_, err := Parse("x.yaml", []byte("node: a b\nlog: {level: loud}\n"))
	var list Errors
	if !errors.As(err, &list) || len(list) != 2 {
		t.Fatalf("errors.As found %d in %v", len(list), err)
	}
	var one Error
	if !errors.As(err, &one) || one.Line != 1 || one.Column != 7 {
		t.Errorf("the first error is %#v", one)
	}
	if !errors.Is(err, list[1]) {
		t.Errorf("errors.Is does not find %v", list[1])
	}
}

// TestFiveMistakes: one run reports all of them, as text and as JSON.
func TestFiveMistakes(t *testing.T) {
	_, err := Load("testdata/invalid/five_mistakes.yaml", Options{})
	var list Errors
	if !errors.As(err, &list) || len(list) != 5 {
		t.Fatalf("%d mistakes, want 5:\n%v", len(list), err)
	}
	if lines := strings.Count(list.Error(), "\n") + 1; lines != 5 {
		t.Errorf("printed in %d lines", lines)
	}
	got, err := json.Marshal(list[1])
	want := `{"file":"testdata/invalid/five_mistakes.yaml","line":8,"column":36,"message":"unknown key \"peer\" in heartbeat; allowed: interface, peers, source; did you mean \"peers\"?"}`
	if err != nil || string(got) != want {
		t.Errorf("as JSON %s, %v", got, err)
	}
}
