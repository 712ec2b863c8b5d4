package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
)

// Options are the edges of [Load] to the outside. Those that are nil are the
// operating system's.
type Options struct {
	ReadFile  func(name string) ([]byte, error)
	Glob      func(pattern string) ([]string, error)
	LookupEnv func(key string) (string, bool)
	// ReadSecret reads a file that holds a key or a password, and returns its mode,
	// too.
	ReadSecret func(name string) ([]byte, fs.FileMode, error)
}

// Load reads the configuration file at path and the files that it includes.
// Mistakes in them, an included file that cannot be read among them, are
// returned as [Errors]. When the main file cannot be read, the error is that of
// reading it.
func Load(path string, opts Options) (*Config, error) {
	l := newLoader(opts)
	data, err := l.opts.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return l.load(path, data)
}

// Parse reads a configuration from data. The name is used in messages only.
// Nothing is read from disk, so "include" and the names of secrets are errors;
// variables come from the environment of the process.
func Parse(name string, data []byte) (*Config, error) {
	return parse(name, data, Options{ReadSecret: func(string) ([]byte, fs.FileMode, error) {
		return nil, 0, errors.New("there are no files here")
	}})
}

func parse(name string, data []byte, opts Options) (*Config, error) {
	l := newLoader(opts)
	l.alone = true
	return l.load(name, data)
}

// loader reads a main file and what it includes into one tree.
type loader struct {
	opts     Options
	alone    bool // there is no file system
	problems *problems
	hash     hash.Hash
	read     map[string]pos // absolute path of each file read → the include that named it
	broken   bool           // a file is missing or no YAML: what it says is not known
}

func newLoader(opts Options) *loader {
	if opts.ReadFile == nil {
		opts.ReadFile = os.ReadFile
	}
	if opts.Glob == nil {
		opts.Glob = filepath.Glob
	}
	if opts.LookupEnv == nil {
		opts.LookupEnv = os.LookupEnv
	}
	if opts.ReadSecret == nil {
		opts.ReadSecret = readSecret
	}
	return &loader{opts: opts, problems: &problems{}, hash: sha256.New(), read: make(map[string]pos)}
}

func (l *loader) load(path string, data []byte) (*Config, error) {
	root := l.file(path, data, nil)
	if root == nil && !l.broken {
		l.problems.add(pos{path, 1, 1}, "the file is empty; write {} if nothing is to be done")
	}
	if root == nil || l.broken {
		return nil, l.problems.err()
	}
	cfg := &Config{Path: path, Files: l.problems.files, Hash: l.sum()}
	build(cfg, l.problems, root, l.opts.ReadSecret)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	cfg.Warnings = l.problems.warnings()
	return cfg, nil
}

// file returns the tree of one file, merged with those that it includes. The
// stack holds the files that led here.
func (l *loader) file(name string, data []byte, stack []string) *node {
	l.problems.files = append(l.problems.files, name)
	l.hash.Write(data)
	root, ok := parseTree(l.problems, name, data, l.lookupEnv)
	if !ok {
		l.broken = true
	}
	if root == nil {
		return nil
	}
	if len(stack) == 0 {
		l.read[absolute(name)] = pos{name, 1, 1}
	}
	stack = append(stack[:len(stack):len(stack)], name)
	return l.includes(name, root, stack)
}

// lookupEnv looks a variable up and lets its value count in the hash.
func (l *loader) lookupEnv(key string) (string, bool) {
	value, ok := l.opts.LookupEnv(key)
	fmt.Fprintf(l.hash, "%q=%q\n", key, value)
	return value, ok
}

// sum returns the short form of the hash. Without variables it is what
// "cat FILE… | sha256sum" begins with.
func (l *loader) sum() string { return hex.EncodeToString(l.hash.Sum(nil))[:12] }

func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return filepath.Clean(name)
}
