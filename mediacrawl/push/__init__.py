"""Send files to a server of tus or of FTP, so that each goes on where it broke off."""
