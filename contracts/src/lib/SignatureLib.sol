// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// Whose signature it is. 65 bytes r, s, v with low s only; never the zero address.
library SignatureLib {
    /// Who signed, or the zero address.
    function signedBy(bytes32 digest, bytes memory sig) internal pure returns (address signer) {
        (signer,,) = ECDSA.tryRecover(digest, sig);
    }

    /// Signed by the client: its session signer, its payer, or a contract that is its payer (ERC-1271).
    /// The signer comes first: what it signed never depends on the payer's code, so nobody can take it back.
    function byClient(address payer, address signer, bytes32 digest, bytes memory sig) internal view returns (bool) {
        address by = signedBy(digest, sig);
        if (by != address(0) && (by == signer || by == payer)) return true;
        return payer.code.length != 0 && SignatureChecker.isValidERC1271SignatureNow(payer, digest, sig);
    }
}
