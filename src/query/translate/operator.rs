//! Unary and binary operators.

use super::super::plan::{
    Instant, InstantFunction, Position, ScalarArgument, ScalarBinary, ScalarOp, StepScalar,
};
use super::super::promql::Span;
use super::super::promql::ast::{self, BinaryOp};
use super::{Scalar, Translator, Value, Vector, position};
use crate::error::{Error, Result};

impl Translator<'_> {
    pub(super) fn unary(&self, unary: &ast::Unary) -> Result<Value> {
        let value = self.value(&unary.expr)?;
        if !unary.negative {
            return Ok(value);
        }
        let negated = |plan| Instant(InstantFunction::Negate).plan(plan, self.schema);
        Ok(match value {
            Value::Scalar(Scalar::Known(known)) => {
                let negative = known.zip(&StepScalar::Constant(0.0), |value, _| -value);
                Value::Scalar(Scalar::Known(negative))
            }
            Value::Scalar(Scalar::Plan(plan)) => Value::Scalar(Scalar::Plan(negated(plan))),
            Value::Vector(vector) => {
                let plan = negated(vector.plan);
                Value::Vector(self.without_names(Vector { plan, ..vector }, false))
            }
        })
    }

    pub(super) fn binary(&self, expr: &ast::Binary, span: Span) -> Result<Value> {
        let op = scalar_op(expr.op).ok_or_else(|| Error::unsupported(expr.op.as_str()))?;
        let (left, right) = (self.value(&expr.left)?, self.value(&expr.right)?);
        let binary = |scalar_left| ScalarBinary {
            op,
            return_bool: expr.returns_bool,
            scalar_left,
            scalar: ScalarArgument::None,
            position: position(span),
        };
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => Ok(Value::Scalar(self.scalars(op, left, right))),
            (Value::Vector(vector), Value::Scalar(scalar)) => {
                Ok(Value::Vector(self.vector_scalar(&binary(false), vector, scalar)))
            }
            (Value::Scalar(scalar), Value::Vector(vector)) => {
                Ok(Value::Vector(self.vector_scalar(&binary(true), vector, scalar)))
            }
            (Value::Vector(_), Value::Vector(_)) => {
                Err(Error::unsupported(format!("{} between two vectors", expr.op.as_str())))
            }
        }
    }

    fn scalars(&self, op: ScalarOp, left: Scalar, right: Scalar) -> Scalar {
        // A comparison between scalars always has `bool`; the grammar sees to it.
        let binary = |scalar, scalar_left| ScalarBinary {
            op,
            return_bool: op.is_comparison(),
            scalar_left,
            scalar,
            position: Position(0),
        };
        match (left, right) {
            (Scalar::Known(left), Scalar::Known(right)) => {
                Scalar::Known(left.zip(&right, |left, right| op.apply(left, right)))
            }
            (Scalar::Plan(left), right) => {
                let (argument, input) = right.into_argument();
                Scalar::Plan(binary(argument, false).plan(left, input, self.schema))
            }
            (Scalar::Known(left), Scalar::Plan(right)) => {
                Scalar::Plan(binary(ScalarArgument::Known(left), true).plan(right, None, self.schema))
            }
        }
    }

    fn vector_scalar(&self, binary: &ScalarBinary, vector: Vector, scalar: Scalar) -> Vector {
        let is_fixed = matches!(scalar, Scalar::Known(StepScalar::Constant(_)));
        let (scalar, input) = scalar.into_argument();
        let binary = ScalarBinary { scalar, ..binary.clone() };
        let drops_name = binary.drops_name();
        let plan = binary.plan(vector.plan, input, self.schema);
        let vector = Vector { plan, is_constant: vector.is_constant && is_fixed, ..vector };
        if drops_name { self.without_names(vector, false) } else { vector }
    }
}

/// The operators between a vector and a scalar; the others are not supported yet.
fn scalar_op(op: BinaryOp) -> Option<ScalarOp> {
    Some(match op {
        BinaryOp::Add => ScalarOp::Add,
        BinaryOp::Sub => ScalarOp::Sub,
        BinaryOp::Mul => ScalarOp::Mul,
        BinaryOp::Div => ScalarOp::Div,
        BinaryOp::Mod => ScalarOp::Mod,
        BinaryOp::Pow => ScalarOp::Pow,
        BinaryOp::Atan2 => ScalarOp::Atan2,
        BinaryOp::Equal => ScalarOp::Equal,
        BinaryOp::NotEqual => ScalarOp::NotEqual,
        BinaryOp::Greater => ScalarOp::Greater,
        BinaryOp::Less => ScalarOp::Less,
        BinaryOp::GreaterEqual => ScalarOp::GreaterOrEqual,
        BinaryOp::LessEqual => ScalarOp::LessOrEqual,
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => {
            return None;
        }
    })
}
