// Files from and to this machine.

/** Lets the person choose a file and reads it as text; null where none is chosen. */
export function chooseFile(accept: string): Promise<{ name: string; text: string } | null> {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = accept;
    input.addEventListener("cancel", () => resolve(null));
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      // File names of macOS are decomposed.
      if (file) void file.text().then((text) => resolve({ name: file.name.normalize("NFC"), text }));
      else resolve(null);
    });
    input.click();
  });
}

export function saveFile(name: string, kind: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
