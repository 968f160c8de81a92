package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Names of the files that WriteFiles makes in a directory.
const (
	AuthorityCertificateFile = "ca.pem"
	AuthorityKeyFile         = "ca-key.pem"
	CertificateFile          = "cert.pem"
	KeyFile                  = "key.pem"
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
	pemFileMax     = 1 << 20
)

// WriteFiles writes ca.pem and ca-key.pem into dir, which it makes if need be. It never
// overwrites a file. The key is readable by its owner only. Files are on disk when it returns.
func (a *Authority) WriteFiles(dir string) error {
	if err := writeKey(dir, AuthorityKeyFile, a.key); err != nil {
		return err
	}
	return writePEM(dir, AuthorityCertificateFile, &pem.Block{Type: pemCertificate, Bytes: a.Certificate.Raw})
}

// LoadAuthority reads what Authority.WriteFiles wrote.
func LoadAuthority(dir string) (*Authority, error) {
	cert, err := readCertificate(filepath.Join(dir, AuthorityCertificateFile))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, AuthorityKeyFile), cert)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || len(cert.URIs) != 1 || cert.URIs[0].Scheme != uriScheme {
		return nil, fmt.Errorf("load %s: not the authority of an epaxos cluster",
			filepath.Join(dir, AuthorityCertificateFile))
	}
	cluster, err := ParseClusterID(cert.URIs[0].Host)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", filepath.Join(dir, AuthorityCertificateFile), err)
	}
	return &Authority{Cluster: cluster, Certificate: cert, key: key}, nil
}

// WriteFiles writes ca.pem, cert.pem and key.pem into dir, which it makes if need be. It never
// overwrites a file. The key is readable by its owner only. Files are on disk when it returns.
func (c *Credential) WriteFiles(dir string) error {
	if err := writeKey(dir, KeyFile, c.key); err != nil {
		return err
	}
	if err := writePEM(dir, CertificateFile, &pem.Block{Type: pemCertificate, Bytes: c.Certificate.Raw}); err != nil {
		return err
	}
	return writePEM(dir, AuthorityCertificateFile, &pem.Block{Type: pemCertificate, Bytes: c.authority.Raw})
}

// Files names the three files of a credential.
type Files struct {
	CA   string // certificate of the authority
	Cert string
	Key  string
}

// LoadCredential reads what Credential.WriteFiles wrote into dir.
func LoadCredential(dir string) (*Credential, error) {
	return LoadFiles(Files{
		CA:   filepath.Join(dir, AuthorityCertificateFile),
		Cert: filepath.Join(dir, CertificateFile),
		Key:  filepath.Join(dir, KeyFile),
	})
}

// LoadFiles reads a credential from files, and checks that the key is the certificate's and the
// certificate the authority's. It does not check that the certificate is still valid.
func LoadFiles(files Files) (*Credential, error) {
	authority, err := readCertificate(files.CA)
	if err != nil {
		return nil, err
	}
	cert, err := readCertificate(files.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readKey(files.Key, cert)
	if err != nil {
		return nil, err
	}
	name, err := NameOf(cert)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", files.Cert, err)
	}
	if err := cert.CheckSignatureFrom(authority); err != nil {
		return nil, fmt.Errorf("load %s: it is not of the authority in %s: %w", files.Cert, files.CA, err)
	}
	return &Credential{Name: name, Certificate: cert, authority: authority, key: key}, nil
}

func writeKey(dir, file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode %s: %w", file, err)
	}
	return writePEM(dir, file, &pem.Block{Type: pemKey, Bytes: der})
}

func writePEM(dir, file string, block *pem.Block) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for %s: %w", file, err)
	}
	mode := os.FileMode(0o644)
	if block.Type == pemKey {
		mode = 0o600
	}
	path := filepath.Join(dir, file)
	// O_EXCL: an overwritten key is a replica that is no longer a member.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := errors.Join(pem.Encode(f, block), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readPEM(path, pemCertificate)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return cert, nil
}

// readKey reads the key that belongs to cert.
func readKey(path string, cert *x509.Certificate) (*ecdsa.PrivateKey, error) {
	der, err := readPEM(path, pemKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read %s: need an ECDSA key", path)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("read %s: the key is not that of the certificate beside it", path)
	}
	return key, nil
}

func readPEM(path, kind string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if info.Size() > pemFileMax {
		return nil, fmt.Errorf("read %s: %d bytes: a PEM file has at most %d", path, info.Size(), pemFileMax)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("read %s: no PEM block of type %s", path, kind)
	}
	return block.Bytes, nil
}
