package config

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

const confDir = "../../conf"

// cloud is the environment that conf/examples/unicast-cloud.yaml asks for.
func cloud(key string) (string, bool) {
	v, ok := map[string]string{"NODE": "lb-a", "PRIORITY": "150", "SELF": "10.0.0.4", "PEER": "10.0.0.5"}[key]
	return v, ok
}

// TestShippedFiles loads every file that users start from.
func TestShippedFiles(t *testing.T) {
	count := 0
	err := filepath.WalkDir(confDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		count++
		t.Run(strings.TrimPrefix(path, confDir+"/"), func(t *testing.T) {
			cfg, err := Load(path, Options{LookupEnv: cloud, ReadSecret: testSecret})
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Routers) == 0 || len(cfg.Balancer.Services) == 0 {
				t.Errorf("%s shows %d routers and %d services", path, len(cfg.Routers), len(cfg.Balancer.Services))
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 6 {
		t.Errorf("only %d files under %s", count, confDir)
	}
}
