package cni

import (
	"errors"
	"fmt"
	"strings"
)

// Code is an error code of the CNI specification ("Error", well-known codes)
// or, from 100, one of our own. Ours are stable: callers may decide on them.
type Code uint

// Codes of the specification. 50 and 51 answer STATUS.
const (
	CodeVersion      Code = 1
	CodeUnsupported  Code = 2
	CodeNoContainer  Code = 3
	CodeEnvironment  Code = 4
	CodeIO           Code = 5
	CodeDecode       Code = 6
	CodeConfig       Code = 7
	CodeOwnNetns     Code = 8
	CodeTryAgain     Code = 11
	CodeNotAvailable Code = 50
	CodeLimited      Code = 51
)

// Codes of our own.
const (
	CodeKernel      Code = 100 // a link, address, route or sysctl could not be set
	CodeExhausted   Code = 101 // no free address
	CodeTaken       Code = 102 // the requested address belongs to another attachment
	CodeOutOfRange  Code = 103 // the requested address can't be given out
	CodeStore       Code = 104 // the ledger or another record can't be read or written
	CodePort        Code = 105 // a host port is in use
	CodeFirewall    Code = 106 // the packet filter refused
	CodeNames       Code = 107 // the resolver did not take the names
	CodeExists      Code = 108 // the interface exists in the container
	CodeCheck       Code = 109 // CHECK found a difference
	CodeDelegate    Code = 110 // a delegated plugin failed without saying how
	CodeInternal    Code = 199 // a fault of ours
	codeUnspecified      = CodeInternal
)

// Error is what a caller of a plugin gets to read. Msg is one line that names
// the key or object, the value and what is wrong; Hint says what to do.
type Error struct {
	Code Code
	Msg  string
	Hint string
	Err  error // what it came from; its text is part of Msg
}

func (e *Error) Error() string { return e.Msg }
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error as fmt.Errorf would make an error.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint adds what to do about it.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Wrap gives err a code unless it has one already.
func Wrap(code Code, err error) error {
	if err == nil {
		return nil
	}
	if e := new(Error); errors.As(err, &e) {
		return err
	}
	return &Error{Code: code, Msg: err.Error(), Err: err}
}

// notTakenForSuccess words a DEL's error in another way where containerd would
// read from it that there is nothing to delete, and forget the container: it looks
// for these texts anywhere in the error (go-cni; spec cni C094).
func notTakenForSuccess(text string) string {
	return strings.NewReplacer("not found", "missing", "no such file or directory", "path is missing").Replace(text)
}

// document is an Error as the specification writes it.
type document struct {
	CNIVersion string `json:"cniVersion"`
	Code       Code   `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details,omitempty"`
}

// documentOf turns any error into the form that is printed. An error that
// wraps an Error keeps its own, longer text.
func documentOf(err error, version string) document {
	d := document{CNIVersion: version, Code: codeUnspecified, Msg: err.Error()}
	if e := new(Error); errors.As(err, &e) {
		d.Code, d.Details = e.Code, e.Hint
	}
	return d
}
