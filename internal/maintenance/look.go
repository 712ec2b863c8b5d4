package maintenance

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// mostFiles is how many files of the folder are looked at.
const mostFiles = 10000

// look reads the folder. One that there is not is empty. Hidden files, which
// editors and file systems leave for a moment, are none of ours.
func look(dir string) ([]Mark, error) { return lookAt(dir, mostFiles) }

func lookAt(dir string, most int) ([]Mark, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(most)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := d.ReadDir(1); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s has more than %d files: is it the right folder?", dir, most)
	}
	var out []Mark
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed since
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Mark{Name: e.Name(), Since: info.ModTime()})
	}
	slices.SortFunc(out, func(a, b Mark) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
