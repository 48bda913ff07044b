package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// addCertificates reads dir/host as docker does: *.crt are authorities to trust
// beside the system's, a *.cert and a *.key of the same name identify us.
func addCertificates(conf *tls.Config, dir, host string) error {
	files, err := filepath.Glob(filepath.Join(dir, host, "*"))
	if err != nil {
		return nil //nolint:nilerr // a host name that is a bad pattern has no directory
	}
	for _, path := range files {
		switch filepath.Ext(path) {
		case ".crt":
			err = addAuthority(conf, path)
		case ".cert":
			var pair tls.Certificate
			pair, err = tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
			conf.Certificates = append(conf.Certificates, pair)
		}
		if err != nil {
			return fmt.Errorf("certificate %s: %w", path, err)
		}
	}
	return nil
}

func addAuthority(conf *tls.Config, path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if conf.RootCAs == nil {
		if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
			conf.RootCAs = x509.NewCertPool()
		}
	}
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in it")
	}
	return nil
}
