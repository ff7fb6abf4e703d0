// Package sealed is files that a passphrase opens, in the format of age (https://age-encryption.org): whoever has the passphrase reads
// them with age -d, too. What is cut off or changed does not open to its end.
package sealed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"golang.org/x/term"
)

// MinPassphrase is the least length of a passphrase, in bytes.
const MinPassphrase = 12

// Errors of opening.
var (
	// ErrPassphrase says that the passphrase does not open the file.
	ErrPassphrase = errors.New("the passphrase does not open this file")
	// ErrNotSealed says that the file is no such file.
	ErrNotSealed = errors.New("this file was not made by wafleet admin export")
)

// Create begins a file. What is written is encrypted; it opens only if the writer was closed, which leaves w open.
func Create(w io.Writer, passphrase string) (io.WriteCloser, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	sealed, err := age.Encrypt(w, recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed, nil
}

// Open begins to read a file. Reading fails where it is damaged, and at an end that is not its own. Returns ErrPassphrase, ErrNotSealed.
func Open(r io.Reader, passphrase string) (io.Reader, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	in := bufio.NewReader(r)
	const begin = "age-encryption.org/"
	if head, _ := in.Peek(len(begin)); string(head) != begin {
		return nil, ErrNotSealed
	}
	opened, err := age.Decrypt(in, identity)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	return opened, nil
}

// Passphrase reads a passphrase: the first line of the file, or from the terminal if there is no file; twice if it is new.
func Passphrase(file string, fresh bool) (string, error) {
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("passphrase: %w", err)
		}
		line, _, _ := strings.Cut(string(raw), "\n")
		return checked(strings.TrimSuffix(line, "\r"), fresh)
	}
	// Not stdin: that may be what is imported.
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("there is no terminal to ask for the passphrase: give --passphrase-file")
	}
	defer func() { _ = terminal.Close() }()
	first, err := ask(terminal, "Passphrase: ")
	if err != nil || !fresh {
		return first, err
	}
	if _, err = checked(first, fresh); err != nil {
		return "", err
	}
	again, err := ask(terminal, "Once more: ")
	if err == nil && first != again {
		err = errors.New("the passphrases differ")
	}
	return first, err
}

func checked(passphrase string, fresh bool) (string, error) {
	switch {
	case passphrase == "":
		return "", errors.New("the passphrase is empty")
	case fresh && len(passphrase) < MinPassphrase:
		return "", fmt.Errorf("the passphrase is shorter than %d characters", MinPassphrase)
	}
	return passphrase, nil
}

func ask(terminal *os.File, prompt string) (string, error) {
	_, _ = terminal.WriteString(prompt)
	typed, err := term.ReadPassword(int(terminal.Fd()))
	_, _ = terminal.WriteString("\n")
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	return string(typed), nil
}
